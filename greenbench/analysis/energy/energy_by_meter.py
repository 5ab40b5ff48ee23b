"""Joules apart: per meter and boundary, and totals of disjoint boundaries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from greenbench.analysis.blocks import as_quantity, ratio_of, valid_blocks
from greenbench.analysis.readings import ANSWERED
from greenbench.schema.quantity import Boundary, Provenance, Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.window import Span, Who, Window
from greenbench.stats.intervals import geometric_mean, mean_interval

if TYPE_CHECKING:
    from greenbench.analysis.groups.rows import Row

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
GPU: Final[Boundary] = "gpu"
HOST: Final[tuple[Boundary, ...]] = ("cpu_package", "dram")
"""Of a machine whose GPU is metered apart."""
GUESSED: Final[tuple[Provenance, ...]] = ("estimated:model", "assumed", "unavailable")


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
    meters = _meters(row.record)
    if len(meters) < 2:
        return []
    lines = [_line(row.record, row.label, "", [span]) for span in meters]
    parts = disjoint(meters)
    return [*lines, _line(row.record, row.label, "total: ", parts)] if len(parts) > 1 else lines


class Beside(NamedTuple):
    """What a GPU's host drew, and the GPU with it."""

    host: Line
    both: Line


def host_of(record: Record) -> Beside | None:
    """Of a run on a GPU, the package and memory of the CPU beside it; null where no meter read them apart.

    A step of eager decoding keeps a core of the host busy, so that a saving on the GPU may cost it there.
    """
    parts = [span for span in disjoint(_meters(record)) if span.provenance not in GUESSED]
    host = [span for span in parts if span.boundary in HOST]
    gpu = [span for span in parts if span.boundary == GPU]
    if not host or not gpu:
        return None
    return Beside(_line(record, "", "", host), _line(record, "", "total: ", [*gpu, *host]))


def may_have_host(record: Record) -> bool:
    """Whether its joules are of GPUs alone, and a meter of the host would tell more."""
    return any(span.boundary == GPU for span in _meters(record)[:1])


def _meters(record: Record) -> list[Span]:
    """A span of each."""
    found = {span.meter: span for window in _generated(record) for span in window.energy}
    return list(found.values())


def disjoint(spans: Sequence[Span]) -> list[Span]:
    """The first meter of each boundary, without boundaries that another one contains."""
    first: dict[Boundary, Span] = {}
    for span in spans:
        first.setdefault(span.boundary, span)
    inside = {part for boundary in first for part in CONTAINED.get(boundary, frozenset())}
    return [span for boundary, span in first.items() if boundary not in {WHOLE, *inside}]


def _generated(record: Record) -> list[Window]:
    return [window for window in valid_blocks(record.windows) if window.phase in ANSWERED]


def _line(record: Record, label: str, prefix: str, parts: Sequence[Span]) -> Line:
    windows = _generated(record)
    meters = {span.meter for span in parts}
    provenance = weakest(span.provenance for span in parts)
    baseline, candidate = (_per_token(windows, who, meters) for who in ("baseline", "candidate"))
    return Line(
        label=label,
        boundary=prefix + " + ".join(span.boundary for span in parts),
        meter=" + ".join(span.meter for span in parts),
        provenance=provenance,
        baseline=_level(baseline, provenance),
        candidate=_level(candidate, provenance),
        ratio=_ratio(record, baseline, candidate, provenance),
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
