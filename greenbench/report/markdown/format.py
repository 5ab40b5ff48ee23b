"""Numbers and strings as markdown: as many digits as are known, and no string trusted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from greenbench.analysis.groups import rows
from greenbench.schema.quantity import Quantity, said
from greenbench.wording import ESTIMATE, number, plain, visible

Row = TypeVar("Row")

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;"})
_MARKS = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])|^(?=[-+#=]+(?:\s|$))")
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
_LINKS = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)


def prose(text: object, limit: int = 400) -> str:
    """Text that reads as itself in markdown, in tables too: no HTML, links, lists or styling."""
    safe = _MARKS.sub(r"\\\g<0>", plain(text, limit).translate(_ENTITIES))
    safe = _LINKS.sub(lambda match: f"&#{ord(match[0])};", safe)
    return _NUMBERED.sub(r"\1\\\2", safe)


def code(text: object, limit: int = 80) -> str:
    """A code span. What would end the span or the table cell is replaced by its look-alike."""
    line = plain(text, limit).replace("`", "'").replace("|", "¦")
    return f"`{line or '(empty)'}`"


def fenced(lines: Sequence[str]) -> list[str]:
    """A code block that none of its `lines` can close."""
    body = [visible(line)[:4000] for line in lines]
    longest = max((len(run) for line in body for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *body, fence]


def folded(summary: str, lines: Sequence[str]) -> list[str]:
    """Lines behind a fold. `summary` must be our own text: it is read as HTML."""
    end = ["", "</details>"] if lines[-1] else ["</details>"]
    return [f"<details><summary>{summary}</summary>", "", *lines, *end]


def titled(title: str, lines: Sequence[str]) -> list[str]:
    """A section; nothing where it has nothing to say."""
    return [f"## {title}", "", *lines, ""] if lines else []


def folds(parts: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Titled lines, each behind a fold; what has none is left out."""
    found = [(title, list(lines)) for title, lines in parts if lines]
    return [line for title, lines in found for line in (*folded(title, _trimmed(lines)), "")]


def _trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1]:
        lines.pop()
    return lines


def run_name(row: rows.Row) -> str:
    """A run's label, marked if something disturbed it."""
    return f"{code(row.label)}{f' {rows.FLAGGED}' if row.flagged else ''}"


class Notes:
    """Reasons gathered under a table, each under a letter that its cells refer to."""

    def __init__(self) -> None:
        self._reasons: list[str] = []

    def mark(self, reason: str | None) -> str:
        """The letter of `reason`, as ``(a)``."""
        line = plain(reason or "no reason recorded")
        if line not in self._reasons:
            self._reasons.append(line)
        index = self._reasons.index(line)
        return f"({ascii_lowercase[index % 26] * (index // 26 + 1)})"

    def legend(self) -> list[str]:
        """One line per reason."""
        return [f"{self.mark(reason)} {prose(reason)}" for reason in self._reasons]


def show(
    quantity: Quantity,
    notes: Notes | None = None,
    *,
    suffix: str = "",
    change: bool = False,
    decimals: int | None = None,
) -> str:
    """A quantity as ``0.63× (0.60–0.66)``, estimates as ``≈0.63×``; `change` adds the sign.

    `decimals` overrules the digits that the interval supports. What is missing is ``n/a`` or a bare
    value with its reason: a letter of `notes`, else in words.
    """

    def why(reason: str | None, words: str) -> str:
        return notes.mark(reason) if notes else f"({words}{prose(reason)})"

    return said(quantity, why, suffix=suffix, change=change, decimals=decimals)


def only(quantity: Quantity, notes: Notes) -> str:
    """The value alone, for what is counted once; ``n/a`` with its reason where missing."""
    if quantity.value is None:
        return show(quantity, notes)
    return f"{ESTIMATE if quantity.is_estimate else ''}{number(quantity.value)}"


class Column(NamedTuple, Generic[Row]):
    """A table column: its title, and the cell of a row (already safe markdown)."""

    title: str
    cell: Callable[[Row, Notes], str]
    may_go: bool = False
    """Where it says the same of all rows, a sentence under the table says so instead."""


class Cells(NamedTuple):
    """What a table says, whatever it is set in: safe markdown."""

    titles: list[str]
    lines: list[list[str]]
    """One of a single cell is a head over those that follow."""
    legend: list[str]


def cells(
    rows: Sequence[Row],
    columns: Sequence[Column[Row]],
    heads: Mapping[int, str] = MappingProxyType({}),
) -> Cells:
    """Every cell, and the notes they refer to; `heads` stand before the rows of these numbers."""
    notes = Notes()
    body = [[column.cell(row, notes) for column in columns] for row in rows]
    gone = [i for i, column in enumerate(columns) if column.may_go and _is_one(body, i)]
    left = [i for i in range(len(columns)) if i not in gone]
    lines = []
    for place, line in enumerate(body):
        lines += [[heads[place]]] if place in heads else []
        lines.append([line[i] for i in left])
    said = [f"{columns[i].title}: {body[0][i]} in every row" for i in gone]
    return Cells([columns[i].title for i in left], lines, [*said, *notes.legend()])


def _is_one(body: Sequence[Sequence[str]], index: int) -> bool:
    return len(body) > 1 and len({line[index] for line in body}) == 1


def table(
    rows: Sequence[Row],
    columns: Sequence[Column[Row]],
    heads: Mapping[int, str] = MappingProxyType({}),
) -> list[str]:
    """A markdown table, padded to read well in a terminal, and the notes its cells refer to."""
    found = cells(rows, columns, heads)
    full = [found.titles, *(line + [""] * (len(found.titles) - len(line)) for line in found.lines)]
    widths = [max(len(line[index]) for line in full) for index in range(len(found.titles))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in full
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return [*lines, "", *(f"- {note}" for note in found.legend)] if found.legend else lines
