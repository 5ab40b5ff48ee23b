"""What Hydra and OmegaConf say over many lines, in one sentence with the key and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, ListConfig
from omegaconf.errors import (
    ConfigIndexError,
    ConfigTypeError,
    GrammarParseError,
    InterpolationResolutionError,
    InterpolationValidationError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)
from yaml import YAMLError

from greenbench.campaign.catalog import GROUPS, options
from greenbench.campaign.lexicon import EXPERIMENTS
from greenbench.errors import UserError
from greenbench.wording import meant

OVERRIDE = re.compile(r"Error merging override (.*)", re.DOTALL)
FILE = re.compile(r"[Ii]n '([^'\n]+)'")
PLAIN = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "one text",
    list: "a list, such as [a,b]",
    NoneType: "null",
}

SAID: dict[type[Exception], str] = {
    MissingMandatoryValue: "{at}{key} has no value: give it one with {key}=...",
    InterpolationValidationError: "{at}{key} takes {wanted}, and what its ${{...}} stands for is none.",
    InterpolationResolutionError: "{at}{key} cannot be filled in: what its ${{...}} names is not there.",
    GrammarParseError: "{told} cannot be read: a ${{ begins the name of another key, and needs its end.",
    ConfigIndexError: "{told} is beyond the list's end: write the whole list.",
}
"""The first that fits; `told` is the override or the key in its file."""

COMPOSED = {
    r"Could not override '/?([^'@]+)": "A file of values says `override {0}`, and that is no group of a run: "
    "allowed are {groups}{hint}.",
    r"Multiple values for /?([^\s.]+)": "A file of values chooses {0} once more: write "
    "`- override /{0}: NAME` in its defaults list.",
    r"([^\s]+) appears more than once": "{0} is in a defaults list more than once: name it once there.",
    r"Duplicate _self_ defined in (\S+)": "The file {0}.yaml has _self_ more than once in its defaults list: "
    "name it once there.",
}
"""What Hydra says of defaults lists, and what is said instead; `{0}` is what it is about."""


@contextmanager
def one_sentence(asked: Sequence[str]) -> Iterator[None]:
    """Turn every mistake in the overrides `asked` or a file of values into a UserError of one line."""
    try:
        yield
    except UserError as error:
        raise type(error)(_one_line(str(error))) from error.__cause__
    except (HydraException, OmegaConfBaseException, YAMLError, OSError) as error:
        raise UserError(_one_line(explain(error, asked))) from error


def explain(error: Exception, asked: Sequence[str]) -> str:
    """The sentence for one error, in none of its own words."""
    if isinstance(error, MissingConfigException):
        known, name = _options(error), str(error.missing_cfg_file).rpartition("/")[2]
        allowed = f"{', '.join(known) or 'none'}{meant(name, known)}"
        return f"{_asked(error)} is unknown: allowed are {allowed}."
    if isinstance(error, YAMLError):
        return _not_yaml(error)
    if isinstance(error, OSError):
        return _unreadable(error)
    chain = (error, error.__cause__, error.__context__)
    causes = (link for link in chain if isinstance(link, OmegaConfBaseException))
    if (cause := next(causes, None)) is not None:
        return _of_values(cause, *_place(error))
    return _of_files(str(error)) or (
        f"{' '.join(asked)} cannot be followed: check that its keys are those of --cfg."
    )


def _of_files(told: str) -> str | None:
    """What Hydra has `told` of the files that it composes; null where it is of none."""
    for pattern, said in COMPOSED.items():
        if match := re.search(pattern, told):
            return said.format(match[1], hint=meant(match[1], GROUPS), groups=", ".join(GROUPS))
    if file := FILE.search(told):
        return f"The file {file[1]}.yaml cannot be used: check its keys and its defaults list."
    return None


def _place(error: Exception) -> tuple[str | None, str]:
    """The override that was wrong, if it was one; else how to name the file, if it was one."""
    override, file = OVERRIDE.match(str(error)), FILE.match(str(error))
    return (override[1] if override else None), (f"In the file {file[1]}.yaml, " if file else "")


def _of_values(cause: OmegaConfBaseException, override: str | None, at: str) -> str:
    key = str(cause.full_key)
    for kind, template in SAID.items():
        if isinstance(cause, kind):
            told, wanted = override or f"{at}{key}", _wanted(cause)
            return template.format(at=at, key=key, told=told, wanted=wanted)
    if isinstance(cause, ValidationError | ConfigTypeError):
        told = f"{override} is not allowed: " if override else at
        if not key:
            return f"{told}keys and values must stand."
        value = (override or "").partition("=")[2]
        return f"{told}{key} takes {_wanted(cause)}{meant(value, _members(cause))}."
    if at and key == EXPERIMENTS:
        return f"{at}the first line must be `# @package _global_`, as in any experiment."
    return f"{at}{key} is not a key of the configuration: {_allowed_keys(cause)}."


def _wanted(cause: OmegaConfBaseException) -> str:
    """What the key that `cause` is about takes."""
    return _words(_hint(cause))


def _members(cause: OmegaConfBaseException) -> list[str]:
    """The names that the key takes, where it takes names."""
    hint = _hint(cause)
    named = isinstance(hint, type) and issubclass(hint, Enum)
    return [str(member.value) for member in hint] if named else []


def _hint(cause: OmegaConfBaseException) -> Any:
    """The type of the key that `cause` is about."""
    parent, key = cause.parent_node, cause.key
    if parent is not None and key is None:  # it is about the node itself
        parent, key = parent._get_parent(), parent._key()
    if isinstance(parent, ListConfig):
        return parent._metadata.element_type
    kind = parent._metadata.object_type if isinstance(parent, DictConfig) else None
    hints = get_type_hints(kind) if isinstance(kind, type) and is_dataclass(kind) else {}
    return hints.get(str(key))


def _words(hint: Any) -> str:
    """A type, for people."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_words(part) for part in get_args(hint))
    kind = get_origin(hint) or hint
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"one of {', '.join(str(member.value) for member in kind)}"
    if isinstance(kind, type) and is_dataclass(kind):
        return f"keys of its own: {', '.join(field.name for field in fields(kind))}"
    return PLAIN.get(kind, "another value")


def _allowed_keys(error: OmegaConfBaseException) -> str:
    parent = error.parent_node
    keys = (
        sorted({str(key) for key in parent} - {"hydra"}) if isinstance(parent, DictConfig) else []
    )
    if not keys:
        return "nothing is allowed here, choose its group first"
    return f"allowed here are {', '.join(keys)}{meant(str(error.key), keys)}"


def _asked(error: MissingConfigException) -> str:
    """As in ``group=option``, and which file asks for it."""
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    file = FILE.match(str(error))
    return f"{group}={option}{f', which {file[1]}.yaml asks for,' if file else ''}"


def _options(error: MissingConfigException) -> list[str]:
    """Hydra knows them where the command line asks, but not where a file does."""
    known = error.options or options(str(error.missing_cfg_file).rpartition("/")[0])
    return sorted({*known} - {"schema"})


def _unreadable(error: OSError) -> str:
    if error.filename is None:
        return "A file of values holds no keys: write KEY: VALUE, one a line."
    return f"{error.filename} cannot be read ({error.strerror}): check that file."


def _not_yaml(error: YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:
        return "A file of values is not YAML: mend it."
    return f"{mark.name} cannot be read as YAML at line {mark.line + 1}: {problem}."


def _one_line(text: str) -> str:
    """`text` with what does not print, a line's end included, as Python escapes it."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
