"""Which meter counted a record's joules: what it gives, and that the record says it was used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from greenbench.schema.quantity import Provenance
from greenbench.schema.record import Record
from greenbench.wording import plain

ESTIMATED: Final = "estimated:model"
GIVES: Final[Mapping[str, set[Provenance]]] = {
    "nvml": {"measured:counter:nvml"},
    "nvml_power": {"measured:integrated:nvml"},
    "rapl": {"measured:counter:rapl"},
    "rapl_dram": {"measured:counter:rapl"},
    "zeus": {"measured:counter:zeus", "measured:integrated:zeus"},
    "zeus_dram": {"measured:counter:zeus", "measured:integrated:zeus"},
    "wall": {"measured:wall"},
    "estimate": {"estimated:model"},
    "estimate_dram": {"estimated:model"},
}
"""By meter that comes with GreenBench, the provenances of its joules; who reads a record opens none."""


def false_meters(record: Record) -> str | None:
    """That joules are no such meter's, or of one that the record did not use, in one sentence; else null."""
    if record.status != "completed" or record.meter is None:
        return None
    said = next(_faults(record, record.meter.used), None)
    return said and f"It is altered: {said}."


def _faults(record: Record, used: list[str]) -> Iterator[str]:
    for window in record.windows:
        for span in window.energy:
            name = plain(span.meter, 40)
            if span.provenance not in GIVES.get(span.meter, {span.provenance}):
                yield (
                    f"its meter {name} has joules of {span.provenance}, which that meter never gives"
                )
            if span.provenance != ESTIMATED and (span.low_j, span.high_j) != (None, None):
                yield f"its meter {name} measured, and has the bounds of an estimate"
        counted = [span.meter for span in window.energy]
        if counted and counted != used:
            yield (
                f"its meters are {plain(', '.join(used) or 'none', 60)}, and its windows have joules by "
                f"{plain(', '.join(counted), 60)}"
            )
