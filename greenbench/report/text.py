"""Numbers and strings as markdown: the right number of digits, and no string from a record trusted."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase
from typing import Generic, NamedTuple, TypeVar

from greenbench.records import Quantity, missing

Row = TypeVar("Row")

ESTIMATE = "≈"
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;"})
_MARKS = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])")
_LINKS = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)


def plain(text: object, limit: int = 400) -> str:
    """One printable line: no control, invisible or direction-changing character, no line break."""
    visible = (
        " " if unicodedata.category(char) in {"Cc", "Zl", "Zp"} else char
        for char in _ANSI.sub("", str(text))
        if char in "\n\t\r" or unicodedata.category(char) not in {"Cf", "Co", "Cs", "Cn"}
    )
    line = " ".join("".join(visible).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def prose(text: object, limit: int = 400) -> str:
    """Text that reads as itself in markdown, table cells included: no HTML, no links, no styling."""
    safe = _MARKS.sub(r"\\\g<0>", plain(text, limit).translate(_ENTITIES))
    return _LINKS.sub(lambda match: f"&#{ord(match[0])};", safe)


def code(text: object, limit: int = 80) -> str:
    """A code span. What would end the span or the table cell is replaced by its look-alike."""
    line = plain(text, limit).replace("`", "'").replace("|", "¦")
    return f"`{line or '(empty)'}`"


def fenced(lines: Sequence[str]) -> list[str]:
    """A code block that none of its `lines` can close."""
    body = [plain(line, 4000) for line in lines]
    longest = max((len(run) for line in body for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *body, fence]


def number(value: float, half: float | None = None) -> str:
    """`value` to the digits that its interval's `half` width supports; without one, three digits.

    The half width keeps one digit, or two where its first is 1, as the Particle Data Group rounds.
    """
    scale = half / 2 if half else abs(value) / 100
    decimals = -math.floor(math.log10(scale)) if scale else 0
    finest = 5 - math.floor(math.log10(abs(value))) if value else 9
    return _fixed(value, max(0, min(decimals, finest)))


def _fixed(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def signed(text: str) -> str:
    """A number's text with its sign, where it has one."""
    zero = not text.strip("0.−")
    return text.lstrip("−") if zero else text if text.startswith("−") else f"+{text}"


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
        return [f"- {self.mark(reason)} {prose(reason)}" for reason in self._reasons]


def bounds(quantity: Quantity) -> tuple[float, float] | None:
    """The 95 % interval, or None."""
    if quantity.low is None or quantity.high is None:
        return None
    return quantity.low, quantity.high


def estimated(quantity: Quantity) -> bool:
    """Whether the number was not measured."""
    return quantity.provenance in {"estimated:model", "assumed"}


def show(quantity: Quantity, notes: Notes, *, suffix: str = "", change: bool = False) -> str:
    """A quantity as ``0.63× (0.60–0.66)``; missing parts refer to their reason in `notes`.

    `change` gives the value and its bounds a sign. Estimates carry ``≈``.
    """
    if quantity.value is None:
        return f"n/a {notes.mark(quantity.reason)}"
    mark = ESTIMATE if estimated(quantity) else ""
    sign = signed if change else str
    interval = bounds(quantity)
    if interval is None:
        return f"{mark}{sign(number(quantity.value))}{suffix} {notes.mark(quantity.reason)}"
    value, low, high = _alike(quantity.value, *interval)
    between = " to " if change else "–"
    return f"{mark}{sign(value)}{suffix} ({sign(low)}{between}{sign(high)})"


def _alike(value: float, low: float, high: float) -> tuple[str, str, str]:
    """The three numbers with the same decimals, those of the shorter side of the interval."""
    half = min((side for side in (value - low, high - value) if side > 0), default=None)
    decimals = len(number(value, half).partition(".")[2])
    return _fixed(value, decimals), _fixed(low, decimals), _fixed(high, decimals)


def scaled(quantity: Quantity, factor: float, unit: str) -> Quantity:
    """The quantity in another unit, `factor` of which make one of its own."""
    value, low, high = (
        None if part is None else part * factor for part in (quantity.value, quantity.low, quantity.high)
    )
    return quantity.model_copy(update={"value": value, "low": low, "high": high, "unit": unit})


def named(quantities: Mapping[str, Quantity], name: str, unit: str) -> Quantity:
    """The quantity of that name, or one that says it is not in the record."""
    return quantities.get(name) or missing(unit, f"the record has no {name}")


class Column(NamedTuple, Generic[Row]):
    """A table column: its title, and the cell of a row (already safe markdown)."""

    title: str
    cell: Callable[[Row, Notes], str]


def table(rows: Sequence[Row], columns: Sequence[Column[Row]]) -> list[str]:
    """A markdown table, padded so that it reads in a terminal too, and the notes its cells refer to."""
    notes = Notes()
    body = [[column.cell(row, notes) for column in columns] for row in rows]
    cells = [[column.title for column in columns], *body]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return [*lines, "", *notes.legend(), *([""] if notes.legend() else [])]
