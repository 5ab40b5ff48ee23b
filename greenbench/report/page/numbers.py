"""Numbers and strings as the page embeds them: values to draw and to sort by, and texts to read."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from markdown_it import MarkdownIt

from greenbench.schema.quantity import Quantity, said
from greenbench.wording import ESTIMATE, TIMES, number, visible

Json = Any
LONGEST: Final = 4000  # characters of one string
TOLD_IN: Final = {"s": (1e3, "ms"), "B": (1e-6, "MB")}
_MARKDOWN: Final = MarkdownIt("commonmark")


class Pool:
    """Values that many runs share, each kept once and named by its place."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._known: dict[object, int] = {}

    def place(self, text: object) -> int:
        """Where the visible characters of `text` are kept; -1 for None."""
        if text is None:
            return -1
        found = self._known.get(text)
        if found is None:
            found = self._places.setdefault(shown(text), len(self._places))
            self._known[text] = found
        return found

    @property
    def values(self) -> list[str]:
        """All strings, in the order of their places."""
        return list(self._places)


def shown(text: object) -> str:
    """`text` in one line of visible characters, cut where it gets absurdly long."""
    line = str(text)
    if not (line.isascii() and line.isprintable()):
        line = visible(line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def cleaned(tree: Json) -> Json:
    """A JSON value whose strings and keys are `shown`, and whose floats are texts of three digits."""
    if isinstance(tree, Mapping):
        return {shown(name): cleaned(tree[name]) for name in sorted(tree, key=str)}
    if isinstance(tree, list | tuple):
        return [cleaned(value) for value in tree]
    if isinstance(tree, float):
        return _figure(tree) if isfinite(tree) else str(tree)
    return tree if tree is None or isinstance(tree, bool | int) else shown(tree)


def rounded(value: float | None) -> float | None:
    """`value` to 7 digits: more than any table shows, so that rounding again changes nothing."""
    if value is None:
        return None
    short = float(f"{value:.7g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _figure(value: float) -> int | str:
    return int(value) if value.is_integer() and abs(value) < 1e15 else number(value)


def quantity(
    pool: Pool, found: Quantity, *, change: bool = False, alone: bool = False
) -> list[Json]:
    """A number as value, low, high, n, the places of its unit, provenance and reason, and its text.

    Seconds are told in ms and bytes in MB. `change` gives it its sign; with `alone` a text without
    the interval follows, for a table that has no room for it.
    """
    found = readable(found)
    texts = [text(found, change=change)]
    if alone and found.value is not None:
        texts.append(f"{ESTIMATE if found.is_estimate else ''}{number(found.value)}")
    return [
        rounded(found.value),
        rounded(found.low),
        rounded(found.high),
        found.n,
        pool.place(found.unit),
        pool.place(found.provenance),
        pool.place(found.reason),
        *texts,
    ]


def readable(found: Quantity) -> Quantity:
    """The number in the unit that it is told in."""
    factor, unit = TOLD_IN.get(found.unit, (1.0, found.unit))
    return found if factor == 1 else found.scaled(factor, unit)


def text(found: Quantity, *, change: bool = False) -> str:
    """A number as leaderboard.md tells it; its reason stands elsewhere."""
    if found.value is None:
        return ""
    points = found.unit == "points"
    return said(
        found,
        lambda *_: "",
        suffix=TIMES if found.unit == "ratio" else "",
        change=change or points,
        decimals=1 if points or found.unit == "%" else None,
    ).strip()


def segments(markdown: str) -> list[list[str]]:
    """One line of our own markdown as pieces of plain text, each with how it is set.

    What a record's strings brought in stays text: `prose` and `code` have escaped it.
    """
    found: list[list[str]] = []
    depth = 0
    for token in _MARKDOWN.parseInline(markdown)[0].children or []:
        depth += (token.type == "strong_open") - (token.type == "strong_close")
        if token.content:
            kind = "code" if token.type == "code_inline" else "strong" if depth else "text"
            found.append([kind, token.content])
    return found
