"""What runs came to, in a line each."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.analysis.energy.energy_by_meter import host_of, may_have_host
from greenbench.analysis.readings import joules
from greenbench.schema.metrics import ENERGY_PER_TOKEN, ENERGY_TO_TARGET
from greenbench.schema.quantity import Quantity, named, said
from greenbench.schema.record import Record
from greenbench.schema.training.record import Training
from greenbench.wording import TIMES, number


def outcome(record: Record) -> str:
    """Of one run."""
    if record.failure is not None:
        return f"{record.status}: {record.failure.message}"
    seconds = f"done in {record.stages_s['total']:.0f} s"
    if record.training is not None:
        ratio = named(record.ratios, ENERGY_TO_TARGET.ratio, "ratio")
        return f"{seconds}, {_trained(record.training, ratio)}"
    return f"{seconds}{_speed(record.ratios['tokens_per_s'])}{_host(record)}"


def _trained(training: Training, ratio: Quantity) -> str:
    """Joules to the target, of as many seeds as came to it."""
    reached = f"reached with {training.reached['candidate']} of {training.seeds} seeds"
    if ratio.value is None and ratio.low is not None:
        return (
            f"at least {number(ratio.low)}{TIMES} the baseline's joules to its last loss, {reached}"
        )
    if ratio.value is None:
        return f"the baseline's last loss {reached} ({ratio.reason})"
    return f"{said(ratio, suffix=TIMES)} the baseline's joules to its last loss, {reached}"


def _speed(ratio: Quantity) -> str:
    if ratio.value is None:
        return f", no speed ratio ({ratio.reason})"
    return f", speed {said(ratio, suffix=TIMES)} the baseline's"


def _host(record: Record) -> str:
    """Of a run on a GPU, its joules and its host's, as a saving there may cost it here."""
    if not may_have_host(record):
        return ""
    ratio, found = named(record.ratios, ENERGY_PER_TOKEN.ratio, "ratio"), host_of(record)
    beside = f"{said(found.host.ratio, suffix=TIMES)} its host's" if found else "host not measured"
    return f", {said(ratio, suffix=TIMES)} its joules, {beside}"


def drawn(records: Sequence[Record]) -> tuple[float, bool]:
    """Joules of all their windows, and whether any of them are estimates."""
    total_j = sum(joules(window) or 0.0 for record in records for window in record.windows)
    return total_j, any(map(is_estimate, records))


def is_estimate(record: Record) -> bool:
    """Whether any of its joules are."""
    return any(w.energy and w.energy[0].provenance == "estimated:model" for w in record.windows)


def closing(records: Sequence[Record], wall_s: float) -> str:
    """Counts, and the share of this command's wall time that measured nothing."""
    counts = {
        status: sum(record.status == status for record in records)
        for status in ("completed", "failed", "unsupported")
    }
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{told} in {wall_s:.0f} s"
