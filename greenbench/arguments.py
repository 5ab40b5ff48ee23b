"""What a caller in Python gave: of the right type, or one sentence that says which it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from greenbench.errors import UserError


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
