"""Where a technique begins to pay, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from greenbench.analysis.energy.crossover import Crossing, Series, crossings, shown, told
from greenbench.analysis.groups.rows import Group
from greenbench.analysis.yardstick import ENERGY
from greenbench.report.markdown.format import Column, Notes, code, prose, show, table
from greenbench.wording import TIMES

HOW: Final = (
    "A technique pays where its whole 95 % interval is better than 1 and the effect is over 2 %, "
    "costs where it is worse in the same way, changes nothing where an equivalence test says so; else "
    "it is not known. Only runs that differ in "
    "nothing else are compared."
)


def crossover(groups: Sequence[Group]) -> list[str]:
    """Sentences and a table for every axis that the records span; nothing without."""
    found = crossings(groups)
    lines = [HOW, ""] if found else []
    for crossing in found:
        lines += [f"**By {crossing.axis.noun}**, {prose(crossing.title)}{_caveat(crossing)}", ""]
        lines += [f"- {code(s.label)} {told(s, crossing.axis)}" for s in crossing.series]
        lines += ["", *table(crossing.series, _columns(crossing)), ""]
    return lines


def _caveat(crossing: Crossing) -> str:
    what = "J/token" if crossing.yardstick is ENERGY else "tokens per second: joules are estimated"
    tier = (
        "" if crossing.setting.claims else f"; tier {prose(crossing.setting.tier)} claims nothing"
    )
    return f" (ratio of {what}{tier}):"


def _columns(crossing: Crossing) -> list[Column[Series]]:
    values = sorted({point.at for series in crossing.series for point in series.points})
    ratio = "J/token" if crossing.yardstick is ENERGY else "tokens/s"

    def at(value: float) -> Column[Series]:
        return Column(
            f"{crossing.axis.noun} {shown(value)}",
            lambda series, notes: _cell(series, value, notes),
        )

    return [Column(f"{ratio} ratio", lambda series, _: code(series.label)), *map(at, values)]


def _cell(series: Series, value: float, notes: Notes) -> str:
    found = [point for point in series.points if point.at == value]
    return "; ".join(f"{show(p.ratio, notes, suffix=TIMES)} {p.state}" for p in found) or "not run"
