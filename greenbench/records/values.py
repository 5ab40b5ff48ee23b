"""Values as an override writes them: Hydra's grammar, without Hydra, which takes long to import."""

from __future__ import annotations

import re
from typing import Any, Final

UNSIGNED: Final = r"(?:0|[1-9]\d*(?:_\d+)*)"
WHOLE: Final = re.compile(f"[+-]?{UNSIGNED}", re.ASCII)
POINT: Final = rf"(?:{UNSIGNED}?\.\d+(?:_\d+)*|{UNSIGNED}\.)"
NUMBER: Final = re.compile(
    rf"[+-]?(?:{POINT}|(?:{UNSIGNED}|{POINT})e[+-]?\d+(?:_\d+)*|inf|nan)", re.ASCII | re.IGNORECASE
)
WORDS: Final = {"null": None, "true": True, "false": False}
ESCAPED: Final = re.compile(r"\\([\\()\[\]{}:=, ])")
PLAIN: Final = re.compile(rf"(?:{ESCAPED.pattern}|[^][{{}}(),'\"])*", re.DOTALL)
"""What stands without quotes; a function's brackets are none of it, and a comma ends it."""
UNSURE: Final = re.compile(r" +:.*|.*: +", re.DOTALL)
"""Beside a colon at an end, Hydra counts spaces to the value."""
NAME: Final = re.compile(r"\s*([\w.-]+)\s*:\s*", re.ASCII)
QUOTED: Final = re.compile(r"'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\"", re.DOTALL)
DEEPEST: Final = 20
"""No knob is a list of lists of so many."""


def value_of(text: str) -> Any:
    """What `text` stands for. Raises ValueError where it is no one value, as several, or a function."""
    found, rest = _element(text, 0)
    if rest:
        raise ValueError(f"{rest!r} follows the value")
    return found


def _element(text: str, depth: int) -> tuple[Any, str]:
    """The value that `text` begins with, and what follows it."""
    if depth > DEEPEST:
        raise ValueError("it is too deep")
    text = text.lstrip()
    if text.startswith("["):
        return _several(text[1:], "]", depth)
    if text.startswith("{"):
        return _several(text[1:], "}", depth)
    if quoted := QUOTED.match(text):
        return _unquoted(quoted), text[quoted.end() :].lstrip()
    word = PLAIN.match(text)
    assert word is not None  # it may be empty
    return _word(word[0]), text[word.end() :]


def _several(text: str, end: str, depth: int) -> tuple[Any, str]:
    """The rest of a list, or of a mapping."""
    names: list[str] = []
    values: list[Any] = []
    rest = text.lstrip()
    while not rest.startswith(end):
        if end == "}":
            name = NAME.match(rest)
            if name is None:
                raise ValueError("a name and a colon are missing")
            names, rest = [*names, name[1]], rest[name.end() :]
        value, rest = _element(rest, depth + 1)
        values.append(value)
        if rest.startswith(","):
            rest = rest[1:].lstrip()
        elif not rest.startswith(end):
            raise ValueError(f"{end} is missing")
    found = values if end == "]" else dict(zip(names, values, strict=True))
    return found, rest[1:].lstrip()


def _unquoted(match: re.Match[str]) -> str:
    """Only a quote, and the backslashes before one or before the end, are written with a backslash."""
    mark, inside = match[0][0], match[0][1:-1]
    return re.sub(
        rf"(\\+)({mark}|$)",
        lambda found: "\\" * (len(found[1]) // 2) + found[2],
        inside,
    )


def _word(written: str) -> Any:
    if UNSURE.fullmatch(written):
        raise ValueError("spaces beside a colon need quotes")
    text = written.strip()
    if ESCAPED.sub("", text).endswith("\\") and written.startswith(f"{text} "):
        text += " "  # it is escaped
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if WHOLE.fullmatch(text):
        return int(text)
    if NUMBER.fullmatch(text):
        return float(text)
    return ESCAPED.sub(r"\1", text)
