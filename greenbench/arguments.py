"""What a caller in Python gave: of the right type, or one sentence that says which it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from greenbench.errors import UserError

Wanted = TypeVar("Wanted")


def wrong(name: str, value: object, wanted: str) -> UserError:
    """The sentence on an argument of the wrong type."""
    return UserError(f"{name} is of type {type(value).__name__}: give {wanted}.")


def texts(name: str, value: object, example: str) -> list[str]:
    """The texts that `value` lists. Raises UserError for one text, which is a list of letters too."""
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping):
        given = list(value)
        several = [each for each in given if isinstance(each, str)]
        if len(several) == len(given):
            return several
    raise wrong(name, value, f"a list of texts, as in {example}")


def path(name: str, value: object) -> Path:
    """The path that `value` is. Raises UserError for anything but a text or a Path."""
    if not isinstance(value, str | Path):
        raise wrong(name, value, "a text or a Path")
    return Path(value)


def maybe_path(name: str, value: object) -> Path | None:
    """The path that `value` is; null where it is not given."""
    return None if value is None else path(name, value)


def part(name: str, value: object) -> str:
    """The part of a name that `value` is. Raises UserError for anything but a text."""
    if not isinstance(value, str):
        raise wrong(name, value, "a text that the name holds")
    return value


def several(name: str, value: object, kind: type[Wanted], wanted: str) -> list[Wanted]:
    """What `value` lists, all of `kind`. Raises UserError for one of it alone, and for anything else."""
    if isinstance(value, Iterable) and not isinstance(value, kind):
        given = list(value)
        if all(isinstance(each, kind) for each in given):
            return given
    raise wrong(name, value, wanted)
