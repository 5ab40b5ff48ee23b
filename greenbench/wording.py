"""Numbers and strings as text: as many digits as are known, and no string trusted."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher, get_close_matches

ESTIMATE = "≈"


TIMES, MINUS, TO = "\N{MULTIPLICATION SIGN}", "\N{MINUS SIGN}", "\N{EN DASH}"


_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


_BREAKS = dict.fromkeys((*range(32), *range(127, 160), 0x2028, 0x2029), " ")


_INVISIBLE = {"Cf", "Co", "Cs", "Cn"}


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


def short(label: object, limit: int) -> str:
    """A run's label, cut to `limit` in its middle: what ends a stack tells it from the stack without."""
    line = plain(label)
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail]}…{line[-tail:]}"


def meant(name: str, known: Iterable[str]) -> str:
    """`` (did you mean that?)`` where one of the `known` names is close, in whatever case; else nothing."""
    names, asked = {each.lower(): each for each in known}, name.lower()
    close = {
        each: SequenceMatcher(None, each, asked).ratio() for each in get_close_matches(asked, names)
    }
    nearest = max(close.values(), default=0.0)
    alike = [names[each] for each, near in close.items() if near > nearest - NEARLY]
    return asked_back(alike[:2])


NEARLY = 0.1
"""Of the nearest one's likeness: a name that is further off was hardly meant."""


def asked_back(names: Sequence[str]) -> str:
    """`` (did you mean those?)`` where there are `names`."""
    return f" (did you mean {' or '.join(names)}?)" if names else ""


def natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts batch 8 before batch 32."""
    return [(int(d or 0), rest) for d, rest in re.findall(r"([0-9]{1,18}|)([^0-9]*)", text)]


def file_stem(text: object) -> str:
    """`text` as part of a file's name: no path, no surprise."""
    return re.sub(r"[^\w-]", "_", str(text), flags=re.ASCII)[:40]


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


def percent(share: float) -> str:
    """A share as ``86 %``."""
    return f"{100 * share:.0f} %"


def change(ratio: float) -> str:
    """What a ratio says of the change, as ``+5.0 %``."""
    return f"{'+' if ratio > 1 else ''}{fixed(100 * (ratio - 1), 1)} %"


def chance(p_value: float | None) -> str:
    """A p-value to two digits."""
    return "n/a" if p_value is None else f"{p_value:.2g}"


def signed(text: str) -> str:
    """A number's text with its sign, where it has one."""
    zero = not text.strip(f"0.{MINUS}")
    if zero or text.startswith(MINUS):
        return text.lstrip(MINUS) if zero else text
    return f"+{text}"


def duration(seconds: float) -> str:
    """In the unit that a person would take."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
