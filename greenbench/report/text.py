"""Numbers and strings as markdown: as many digits as are known, and no string trusted."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from string import ascii_lowercase
from typing import Generic, NamedTuple, TypeVar

from greenbench.quantities import Quantity, missing

Row = TypeVar("Row")

ESTIMATE = "≈"
TIMES, MINUS, TO = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}", "\N{EN DASH}"
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_BREAKS = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")
_INVISIBLE = {"Cf", "Co", "Cs", "Cn"}
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;"})
_MARKS = re.compile(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])|^(?=[-+#=]+(?:\s|$))")
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
_LINKS = re.compile(r":(?=//)|(?<=www)\.", re.IGNORECASE)


def visible(text: object) -> str:
    """`text` in one line, without control, invisible or direction-changing characters."""
    line = str(text)
    if line.isascii() and line.isprintable():  # nearly every text, and many times faster
        return line
    line = _ANSI.sub("", line).translate(_BREAKS)
    return "".join(char for char in line if unicodedata.category(char) not in _INVISIBLE)


def plain(text: object, limit: int = 400) -> str:
    """`visible` text with single spaces, cut to `limit`."""
    line = " ".join(visible(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts batch 8 before batch 32."""
    return [(int(d or 0), rest) for d, rest in re.findall(r"([0-9]{1,18}|)([^0-9]*)", text)]


def file_stem(text: object) -> str:
    """`text` as part of a file's name: no path, no surprise."""
    return re.sub(r"[^\w-]", "_", str(text), flags=re.ASCII)[:40]


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


def number(value: float, half: float | None = None) -> str:
    """`value` to the digits that its interval's `half` width supports; without one, three digits.

    The half width keeps one digit, or two where its first is 1, as the Particle Data Group rounds.
    """
    scale = half / 2 if half else abs(value) / 100
    decimals = -math.floor(math.log10(scale)) if scale else 0
    finest = 5 - math.floor(math.log10(abs(value))) if value else 9
    return fixed(value, max(0, min(decimals, finest)))


def fixed(value: float, decimals: int) -> str:
    """`value` to so many decimals, with a true minus sign and never as minus zero."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", MINUS)


def signed(text: str) -> str:
    """A number's text with its sign, where it has one."""
    zero = not text.strip(f"0.{MINUS}")
    if zero or text.startswith(MINUS):
        return text.lstrip(MINUS) if zero else text
    return f"+{text}"


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
    if quantity.value is None:
        return f"n/a {_why(quantity, notes, '')}"
    mark = ESTIMATE if estimated(quantity) else ""
    sign = signed if change else str
    places = decimals_of(quantity) if decimals is None else decimals
    value = f"{mark}{sign(fixed(quantity.value, places))}{suffix}"
    interval = bounds(quantity)
    if interval is None:
        return f"{value} {_why(quantity, notes, 'no interval: ')}"
    low, high = (fixed(bound, places) for bound in interval)
    return f"{value} ({sign(low)}{' to ' if change or MINUS in low else TO}{sign(high)})"


def only(quantity: Quantity, notes: Notes) -> str:
    """The value alone, for what is counted once; ``n/a`` with its reason where missing."""
    if quantity.value is None:
        return show(quantity, notes)
    return f"{ESTIMATE if estimated(quantity) else ''}{number(quantity.value)}"


def decimals_of(quantity: Quantity) -> int:
    """Decimals that the shorter side of the interval supports."""
    value, interval = quantity.value or 0.0, bounds(quantity)
    sides = [abs(bound - value) for bound in interval or () if bound != value]
    return len(number(value, min(sides, default=None)).partition(".")[2])


def _why(quantity: Quantity, notes: Notes | None, words: str) -> str:
    return notes.mark(quantity.reason) if notes else f"({words}{prose(quantity.reason)})"


def scaled(quantity: Quantity, factor: float, unit: str) -> Quantity:
    """The quantity in another unit, `factor` of which make one of its own."""
    value, low, high = (
        None if part is None else part * factor
        for part in (quantity.value, quantity.low, quantity.high)
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
    """A markdown table, padded to read well in a terminal, and the notes its cells refer to."""
    notes = Notes()
    body = [[column.cell(row, notes) for column in columns] for row in rows]
    cells = [[column.title for column in columns], *body]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    legend = notes.legend()
    return [*lines, "", *legend] if legend else lines
