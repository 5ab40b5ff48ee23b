"""What the overrides of a call ask for: each is looked over, then they are swept as Hydra sweeps them."""

from __future__ import annotations

import itertools
import math
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException

from greenbench.campaign.catalog import GROUPS, experiments, options
from greenbench.campaign.invocation import BenchSpec
from greenbench.campaign.lexicon import EXPERIMENTS, keys
from greenbench.errors import UserError
from greenbench.plugins import conf_folders
from greenbench.schema.ranges import require_choice
from greenbench.wording import asked_back, meant

KEYS = {field.name for field in fields(BenchSpec)}
MOST_RUNS = 10_000
"""Of one call: more are a slip."""
REACH = {
    "code", "command", "dataset", "directory", "file", "files", "folder", "key", "launcher", "log", "path",
    "results", "trace", "trust", "url",
}  # fmt: skip
"""Words in the names of keys that say where files, servers and other machines are, and whose code may run."""
OUTSIDE = re.compile(r"^[/~]|(^|/)\.\.(/|$)|\.ya?ml$|\$\{|^kernels-community/", re.IGNORECASE)
"""Of a text: a place in the file system, what Hydra would read from somewhere, or a hub's compiled code."""
FORM = "an override is KEY=VALUE or GROUP=OPTION"

Axes: TypeAlias = Callable[[Sequence[str]], Sequence[Override]]
"""What the experiment among such overrides sweeps by itself."""


def read(overrides: Sequence[str], beside: Sequence[Path]) -> list[Override]:
    """Each override, of a key that is given twice the last; groups may also lie in `beside`.

    Raises UserError, one sentence, for one that cannot be right.
    """
    asked = (_read(text, beside) for text in overrides)
    return list({override.key_or_group: override for override in asked}.values())


def one_run(asked: Sequence[Override], axes: Axes, *, may_sweep: bool) -> tuple[str, ...]:
    """The overrides of the one run that is asked for. Raises UserError where there are several, with what
    to do about that where it `may_sweep`."""
    for override in asked:
        if override.is_sweep_override():
            todo = _one_value(override) if may_sweep else "name one value"
            raise UserError(f"{_told(override)} asks for several runs: {todo}.")
    texts = tuple(_told(override) for override in asked)
    named = {override.key_or_group for override in asked}
    for axis in axes(texts):
        if axis.key_or_group not in named:
            everything = "add --multirun to run all of it, or " if may_sweep else ""
            raise UserError(
                f"This experiment sweeps {axis.key_or_group}: {everything}choose one with "
                f"{axis.key_or_group}=..."
            )
    return texts


def sweep(asked: Sequence[Override], axes: Axes) -> Iterator[tuple[str, ...]]:
    """Every combination, an experiment's own axes first; the command line wins.

    Of several experiments each is swept by itself.
    """
    for place, override in enumerate(asked):
        if override.is_add() and override.is_sweep_override():
            for text in _each(override):
                yield from sweep([*asked[:place], _parse(text), *asked[place + 1 :]], axes)
            return
    fixed = [_told(override) for override in asked if not override.is_sweep_override()]
    every = {override.key_or_group: _each(override) for override in (*axes(fixed), *asked)}
    count = math.prod(map(len, every.values()))
    if count > MOST_RUNS:
        raise UserError(f"{' '.join(map(_told, asked))} asks for {count} runs: {_FEWER}.")
    yield from itertools.product(*every.values())


_FEWER = f"sweep over fewer values, {MOST_RUNS} runs at most"


def each_value(text: str) -> list[str]:
    """An override once for each value that it has. Raises UserError where it cannot be read."""
    try:
        (override,) = OverridesParser.create().parse_overrides([text])
    except OverrideParseException as error:
        raise UserError(f"{text} cannot be read: {FORM}.") from error
    return _each(override)


def require_harmless(overrides: Iterable[str]) -> None:
    """Raise UserError for one that names a file or a server, reads the environment, or lets foreign code
    run. One that cannot be read at all is left to `read`."""
    for text in overrides:
        with suppress(OverrideParseException):
            (override,) = OverridesParser.create().parse_overrides([text])
            for key, value in _leaves(str(override.key_or_group), override._value):
                if REACH & set(re.split(r"[._]", key.lower())) or _is_place(str(value)):
                    raise UserError(
                        f"{text} is not for an agent to say, as it reaches for files, servers or the code "
                        "of others: let a person run it, or start the server with a --config-dir that has "
                        "it in a file of values."
                    )


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value in `value`, quotes taken off, under the last keys that lead to it."""
    match value:
        case ChoiceSweep():
            yield from _leaves(key, value.list)
        case dict():
            for name, each in value.items():
                yield from _leaves(f"{key}.{_bare(name)}", each)
        case list():
            for each in value:
                yield from _leaves(key, each)
        case _:
            yield key, _bare(value)


def _bare(value: Any) -> Any:
    return value.text if isinstance(value, QuotedString) else value


def _is_place(text: str) -> bool:
    return bool(OUTSIDE.search(text)) or ("/" in text and Path(text).exists())


def _read(text: str, beside: Sequence[Path]) -> Override:
    override = _parse(text)
    key = override.key_or_group
    bare = text[text.index(key) :]
    _refuse_form(override, text, bare)
    if key in GROUPS:
        if override.is_add() or override.is_force_add():
            raise UserError(f"{text} adds one more {key} where a run has one: write {bare}.")
    elif _is_added(key, beside):
        override = _parse(f"+{bare}")
    else:
        _require_key(key)
        return _parse(bare)  # all keys are there, so that a plus changes nothing
    _require_options(
        override, [*options(key, beside), *(experiments() if key == EXPERIMENTS else ())]
    )
    return override


def _parse(text: str) -> Override:
    try:
        (override,) = _parser().parse_overrides([text])
    except OverrideParseException as error:
        told = text if text.strip() else repr(text)
        raise UserError(f"{told} cannot be read: {_as_it_should_be(text)}.") from error
    if not override.key_or_group:
        raise UserError(f"{text} cannot be read: {FORM}.")
    return override


def _parser() -> OverridesParser:
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())


def _as_it_should_be(text: str) -> str:
    """How to write the override `text`, quotes for the shell included."""
    key, equals, value = text.partition("=")
    if not equals:
        return f"{FORM}, in quotes where the value has spaces, as in {_quoted('KEY', 'a b')}"
    if value[:1] in "[{":
        return f"{FORM}, in quotes where it has brackets, as in 'technique=[prune_depth,int8_bnb]'"
    quoted = _quoted(key, value)
    try:
        _parser().parse_overrides(shlex.split(quoted))
    except OverrideParseException:
        return FORM
    if not value.isprintable():
        return FORM
    return f"{FORM}, and such a value is quoted twice, for the shell and for itself: {quoted}"


def _quoted(key: str, value: str) -> str:
    return shlex.quote(f"{key}={QuotedString(value, Quote.double).with_quotes()}")


def _refuse_form(override: Override, text: str, bare: str) -> None:
    """Raise UserError for what Hydra allows and a run has no use for."""
    key = override.key_or_group
    if key == "hydra" or override.is_hydra_override():
        raise UserError(
            f"{text} has no effect, as Hydra only reads the configuration here: results=DIR says where "
            "records go, --config-dir where your groups are, --multirun sweeps KEY=A,B, and "
            "launcher=slurm or launcher=ray says where runs run."
        )
    if override.is_delete():
        raise UserError(f"{text} takes a key away that every run needs: give it another value.")
    if override.package is not None:
        bare = bare.replace(f"@{override.package}", "", 1)
        raise UserError(f"{text} moves a group, and each has one place: write {bare}.")


def _is_added(key: str, beside: Sequence[Path]) -> bool:
    """Whether `key` is a group that no run has by itself: experiments, or one of the user's own."""
    folders = [folder / key for folder in (*conf_folders(), *beside)]
    return key == EXPERIMENTS or (key not in KEYS and any(map(Path.is_dir, folders)))


def _require_key(key: str) -> None:
    """Raise UserError unless `key` begins as one can: Hydra looks at the rest of it."""
    if key.partition(".")[0] not in KEYS:
        allowed = sorted({*KEYS, EXPERIMENTS})
        raise UserError(
            f"{key} is not a key of the configuration: allowed here are {', '.join(allowed)}"
            f"{_hint(key, allowed)}."
        )


def _hint(key: str, allowed: Sequence[str]) -> str:
    """What was meant by `key`: a key in a group, by its last part, or one that is spelt alike."""
    inside = [known for known in keys() if known.rpartition(".")[2] == key]
    return asked_back(inside) or meant(key.partition(".")[0], allowed)


def _require_options(override: Override, known: Sequence[str]) -> None:
    """Raise UserError unless each choice, or each of a list of them, is an option."""
    key = override.key_or_group
    for text in _each(override):
        value = _parse(text).value()
        names: list[Any] = value if isinstance(value, list) else [value]
        told = text.removeprefix("+")
        if key in GROUPS and key != "technique" and isinstance(value, list):
            raise UserError(f"{told} is a list, and a run has one {key}: choose one of them.")
        for name in names:
            shown = name if isinstance(name, str) else told.partition("=")[2]
            require_choice(shown, key, known)
        if not names or len(set(names)) < len(names):
            why = "names one twice" if names else "chooses nothing"
            raise UserError(f"{told} {why}: name each once, or say technique=none for none.")


def _told(override: Override) -> str:
    return str(override.input_line)


def _each(override: Override) -> list[str]:
    """One override for each value. Raises UserError for values that cannot be counted, or none."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise UserError(f"{_told(override)} has no end of values: name them, as in {key}=1,2,3.")
    try:
        found = list(itertools.islice(override.sweep_string_iterator(), MOST_RUNS + 1))
    except (HydraException, ValueError, ArithmeticError) as error:
        raise UserError(
            f"{_told(override)} is no range: both ends must be numbers, and its step not 0."
        ) from error
    if not found:
        raise UserError(f"{_told(override)} stands for no value at all: name one or more.")
    if len(found) > MOST_RUNS:
        raise UserError(f"{_told(override)} has more than {MOST_RUNS} values: {_FEWER}.")
    return [f"{key}={value}" for value in found]


def _one_value(override: Override) -> str:
    """What to do about a sweep in a call for one run."""
    key, value = override.key_or_group, _told(override).partition("=")[2]
    if override.is_choice_sweep() and "(" not in value and key not in GROUPS:
        return f"add --multirun, or write one text as {_quoted(key, value)} and a list as '{key}=[{value}]'"
    return "add --multirun"
