"""Joules apart: per meter and boundary, totals of disjoint boundaries, and above idle."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import hypot
from typing import Final, NamedTuple

from greenbench.analysis.blocks import as_quantity, ratio_of, valid_blocks
from greenbench.analysis.groups.rows import Row
from greenbench.analysis.readings import ANSWERED
from greenbench.schema.quantity import Boundary, Provenance, Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.window import Span, Who, Window
from greenbench.stats.intervals import geometric_mean, mean_interval

TRUST: Final[tuple[Provenance, ...]] = (
    "measured:counter:nvml",
    "measured:counter:rapl",
    "measured:counter:zeus",
    "measured:integrated:nvml",
    "measured:integrated:zeus",
    "measured:wall",
    "measured:plugin",
    "estimated:model",
    "assumed",
    "unavailable",
)
"""Strongest first. A counter in the device sees every moment; NVML's gain error is known, RAPL's is
not, and Zeus reads counters through one more layer; integrated samples leave gaps; a wall log is
joined across two clocks; of a plug-in's meter no one here knows."""
CONTAINED: Final[dict[Boundary, frozenset[Boundary]]] = {
    "module": frozenset({"gpu", "cpu_package", "dram"}),
}
"""What a boundary holds already: adding it would count it twice."""
WHOLE: Final[Boundary] = "wall"  # contains everything, so it is part of no sum
NO_IDLE: Final = "no idle window with both models loaded"


class Line(NamedTuple):
    """J/token of one run by one meter, or by several whose boundaries are disjoint."""

    label: str
    boundary: str
    meter: str
    provenance: Provenance
    baseline: Quantity
    candidate: Quantity
    ratio: Quantity


def weakest(provenances: Iterable[Provenance]) -> Provenance:
    """The least trustworthy; what is not about joules counts as unavailable."""
    return max(
        (found if found in TRUST else "unavailable" for found in provenances), key=TRUST.index
    )


def boundary_lines(row: Row) -> list[Line]:
    """One line per meter, then one for the total where two or more boundaries are disjoint."""
    windows = _generated(row)
    meters = {span.meter: span for window in windows for span in window.energy}
    if len(meters) < 2:
        return []
    lines = [_line(row, "", windows, [span]) for span in meters.values()]
    parts = disjoint(list(meters.values()))
    return [*lines, _line(row, "total: ", windows, parts)] if len(parts) > 1 else lines


def disjoint(spans: Sequence[Span]) -> list[Span]:
    """The first meter of each boundary, without boundaries that another one contains."""
    first: dict[Boundary, Span] = {}
    for span in spans:
        first.setdefault(span.boundary, span)
    inside = {part for boundary in first for part in CONTAINED.get(boundary, frozenset())}
    return [span for boundary, span in first.items() if boundary not in {WHOLE, *inside}]


def _generated(row: Row) -> list[Window]:
    return [window for window in valid_blocks(row.record.windows) if window.phase in ANSWERED]


def _line(row: Row, prefix: str, windows: Sequence[Window], parts: Sequence[Span]) -> Line:
    meters = {span.meter for span in parts}
    provenance = weakest(span.provenance for span in parts)
    baseline, candidate = (_per_token(windows, who, meters) for who in ("baseline", "candidate"))
    return Line(
        label=row.label,
        boundary=prefix + " + ".join(span.boundary for span in parts),
        meter=" + ".join(span.meter for span in parts),
        provenance=provenance,
        baseline=_level(baseline, provenance),
        candidate=_level(candidate, provenance),
        ratio=_ratio(row.record, baseline, candidate, provenance),
    )


def _per_token(windows: Sequence[Window], who: Who, meters: Collection[str]) -> dict[int, float]:
    """J/token by block, of the blocks in which all `meters` counted and tokens were made."""
    found = {}
    for window in windows:
        spans = [span for span in window.energy if span.meter in meters]
        if window.who == who and len(spans) == len(meters) and window.tokens:
            joules = sum(span.end_j - span.start_j for span in spans)
            found[window.block or 0] = joules / window.tokens
    return found


def _level(values: dict[int, float], provenance: Provenance) -> Quantity:
    if not values:
        return missing("J/token", "no valid block has joules by all these meters")
    average = geometric_mean if min(values.values()) > 0 else mean_interval
    return as_quantity(average(list(values.values())), "J/token", provenance)


def _ratio(
    record: Record, baseline: dict[int, float], candidate: dict[int, float], provenance: Provenance
) -> Quantity:
    blocks = sorted(baseline.keys() & candidate.keys())
    pairs = [(baseline[block], candidate[block]) for block in blocks]
    if not pairs or min(map(min, pairs)) <= 0:
        return missing("ratio", "no valid block, or one whose joules are not above 0")
    before, after = zip(*pairs, strict=True)
    return as_quantity(ratio_of(record, before, after), "ratio", provenance)


def above_idle(row: Row) -> Quantity:
    """The candidate's J/token less idle power x seconds: mean over blocks, in J/token.

    Idle power is that with both models loaded; its own interval, where it has one, is added in
    quadrature (it is common to all blocks). Seconds are those between the meter's two readings.
    """
    idle = row.record.idle.get("both")
    windows = [window for window in _generated(row) if window.who == "candidate" and window.tokens]
    if row.energy.value is None:
        return missing("J/token", row.energy.reason or NO_IDLE)
    if idle is None or idle.value is None:
        return missing("J/token", (idle.reason if idle else None) or NO_IDLE)
    spans = [(window.energy[0], window.tokens) for window in windows if window.energy]
    if not spans:
        return missing("J/token", "no valid block has joules")
    seconds = [(span.end_s - span.start_s) / tokens for span, tokens in spans]
    joules = [(span.end_j - span.start_j) / tokens for span, tokens in spans]
    rest = [energy - idle.value * time_s for energy, time_s in zip(joules, seconds, strict=True)]
    provenance = weakest([row.energy.provenance, idle.provenance])
    found = as_quantity(mean_interval(rest), "J/token", provenance)
    return _widened(found, idle, sum(seconds) / len(seconds))


def _widened(found: Quantity, idle: Quantity, seconds_per_token: float) -> Quantity:
    mine, theirs = found.bounds, idle.bounds
    if found.value is None or mine is None or theirs is None:
        return found
    half = hypot((mine[1] - mine[0]) / 2, (theirs[1] - theirs[0]) / 2 * seconds_per_token)
    return found.model_copy(update={"low": found.value - half, "high": found.value + half})
