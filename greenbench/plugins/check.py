"""A plug-in's class, looked over when it is imported, and its own errors as sentences."""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, make_dataclass
from typing import Any, get_args, get_type_hints

from greenbench.errors import Lost, Unavailable, UserError

BASES = {
    "greenbench.techniques": (
        "greenbench.techniques.technique",
        ("ModelEdit", "EngineOption", "MachineSetting"),
    ),
    "greenbench.engines": ("greenbench.engines.engine", ("Engine",)),
    "greenbench.meters": ("greenbench.meters.meter", ("Meter",)),
}
"""What a class must be built on, by its room; imported by name, as these stand on higher floors."""
KNOBS = (
    "an int, a float, a bool, a str, an Enum, a Path, one of these or None, or a list, dict or "
    "dataclass of them"
)


def imported(plugin: str, module: str, name: str, room: str) -> type:
    """The class `name` of `module`. Raises UserError, one sentence, where it cannot be used."""
    try:
        cls: type = getattr(importlib.import_module(module), name)
    except KeyboardInterrupt:
        raise
    except (
        BaseException
    ) as error:  # whatever it does, SystemExit included, is its fault and not ours
        raise UserError(
            f"The {plugin} cannot be imported ({_told(error)}{_line(error, module)}): mend it, install "
            "what it needs, or remove it."
        ) from error
    if flaw := _flaw(cls, *BASES[room]):
        raise UserError(f"The {plugin}: the class {name} in {inspect.getfile(cls)} {flaw}.")
    return cls


@contextmanager
def answerable() -> Iterator[None]:
    """What a plug-in's code raises, but a UserError, becomes one that says where and what to do."""
    try:
        yield
    except (UserError, Unavailable, Lost):
        raise
    except Exception as error:
        from greenbench.plugins.names import ROOMS, named  # which looks over what it finds with us

        brought = {str(n.path): n for room in ROOMS for n in named(room).values() if n.plugin}
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.filename in brought:
                raise UserError(
                    f"The {brought[frame.filename].plugin} fails ({_told(error)}, {frame.filename}, "
                    f"line {frame.lineno}): change its knobs, mend it, or remove it."
                ) from error
        raise


def _told(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")


def _line(error: BaseException, module: str) -> str:
    """Where in the plug-in it happened."""
    top = module.partition(".")[0]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if f"/{top}" in frame.filename and "importlib" not in frame.filename:
            return f", {frame.filename}, line {frame.lineno}"
    return f", in the module {module}"


def _flaw(cls: type, base_module: str, names: tuple[str, ...]) -> str | None:
    """What is wrong with a class, and what to do about it; null where nothing is."""
    module = importlib.import_module(base_module)
    bases = [getattr(module, name) for name in names]
    base = next((base for base in bases if base in getattr(cls, "__mro__", ())), None)
    if base is None:
        return f"is no {' or '.join(names)}: let it be one, as in class X({names[0]})"
    if missing := _missing(cls, base):
        return f"has no {' and no '.join(missing)}: write it as {names[0]} has it"
    flaw = _signatures(cls, base)
    return flaw if base.__name__ == "Meter" else flaw or _forms(cls, module) or _knobs(cls)


def _missing(cls: Any, base: Any) -> list[str]:
    """The methods that a class must have and does not."""
    abstract: frozenset[str] = getattr(cls, "__abstractmethods__", frozenset())
    needed = ("read",) if base.__name__ == "Meter" else ()  # a Protocol's are not abstract
    return sorted({*abstract, *(n for n in needed if getattr(cls, n) is getattr(base, n))})


def _signatures(cls: Any, base: Any) -> str | None:
    """A method that cannot be called as the base's is."""
    for name, method in inspect.getmembers(base, inspect.isfunction):
        if name.startswith("_") or getattr(cls, name) is method:
            continue
        taken = list(inspect.signature(method).parameters)
        if isinstance(inspect.getattr_static(cls, name), staticmethod | classmethod):
            taken = taken[1:]
        try:
            inspect.signature(getattr(cls, name)).bind(*taken)
        except (TypeError, ValueError):
            return f"has a {name} that cannot be called as {name}({', '.join(taken)}): write it so"
    return None


def _forms(cls: Any, module: Any) -> str | None:
    """A form that is none."""
    known = set(get_args(module.Form))
    allowed = ", ".join(sorted(known))
    if module.__name__.endswith("engine"):
        given = getattr(cls, "forms", None)
        if not (isinstance(given, frozenset) and given and given <= known):
            return f'takes no forms: write forms = frozenset({{"module"}}), or others of {allowed}'
    elif getattr(cls, "form", "module") not in known:
        return f"has the form {cls.form!r}: write one of {allowed}"
    return None


def _knobs(cls: Any) -> str | None:
    """A field that no configuration can hold, or none of which is one."""
    try:
        hints = get_type_hints(cls)
    except Exception as error:
        return f"has an annotation that is not known ({_told(error)}): import or mend it"
    own = {name for name in inspect.get_annotations(cls) if "ClassVar" not in str(hints[name])}
    if not is_dataclass(cls) or own - {knob.name for knob in fields(cls)}:
        return "is no dataclass: write @dataclass(frozen=True) above it"
    if own & {"name", "summary"}:
        return 'has its name or summary as a knob: write name: ClassVar[str] = "..."'
    return next(filter(None, (_knob(cls, knob.name, hints) for knob in fields(cls))), None) or (
        _defaults(cls)
    )


def _knob(cls: Any, name: str, hints: dict[str, Any]) -> str | None:
    from omegaconf import OmegaConf

    try:
        OmegaConf.structured(make_dataclass("Knob", [(name, hints[name])]))
    except Exception:
        said = inspect.formatannotation(hints[name])
        return f"has the knob {name} of type {said}, which no configuration can hold: let it be {KNOBS}"
    return None


def _defaults(cls: Any) -> str | None:
    from omegaconf import OmegaConf

    try:
        config = OmegaConf.structured(cls)
        if not OmegaConf.missing_keys(config):
            cls()
    except UserError as error:
        return f"refuses its own defaults ({str(error).rstrip('.')}): give it others"
    except Exception as error:
        why = _told(error).partition(" full_key")[0]
        return f"cannot be made from its own defaults ({why}): give it others"
    return None
