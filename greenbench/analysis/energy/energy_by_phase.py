"""Where the joules go: prefill and decode of a request, scoring, preparation, and idle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from greenbench.analysis.blocks import as_amount, as_quantity, energy_of, valid_blocks
from greenbench.analysis.energy.promises import prepare_energy
from greenbench.analysis.groups.rows import Row
from greenbench.analysis.readings import joules
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.window import Phase, Who, Window
from greenbench.stats.intervals import mean_interval

WHO: tuple[Who, Who] = ("baseline", "candidate")
NO_WINDOWS = "no valid block has joules of this phase"


class Phases(NamedTuple):
    """One run's joules by phase; those of one request unless said otherwise."""

    row: Row
    prefill: Quantity
    decode: Quantity
    baseline: Quantity
    """Prefill and decode together, of the baseline in the same blocks."""
    idle: Quantity
    """What the device would have drawn idle in the candidate's time."""
    score: Quantity
    """Once, all items."""
    prepare: Quantity
    """Once."""


def phases(row: Row) -> Phases | None:
    """Joules by phase; None where no request has any."""
    windows = valid_blocks(row.record.windows)
    made = {who: request_joules(row.record, who) for who in WHO}
    first = request_joules(row.record, "candidate", "prefill")
    if not made["candidate"] or not made["baseline"]:
        return None
    source = row.energy.provenance
    decode = [whole - start for whole, start in zip(made["candidate"], first, strict=False)]
    return Phases(
        row,
        prefill=_mean(first, source),
        decode=_mean(decode, source),
        baseline=_mean(made["baseline"], source),
        idle=_idle(row, windows),
        score=_score(row),
        prepare=prepare_energy(row),
    )


def request_joules(record: Record, who: Who, phase: Phase = "generate") -> list[float]:
    """Joules of one request in each valid block; empty where a block has none."""
    mine = sorted(
        (w for w in valid_blocks(record.windows) if w.who == who and w.phase == phase),
        key=lambda w: w.block or 0,
    )
    counted = [joules(w) for w in mine]
    made = [w.iterations * _batch(record) for w in mine]
    if None in counted or 0 in made:
        return []
    return [j / count for j, count in zip(counted, made, strict=True) if j is not None]


def _batch(record: Record) -> int:
    """Requests in one iteration."""
    return record.spec.workload.batch_size


def _mean(values: Sequence[float], source: Provenance) -> Quantity:
    if not values:
        return missing("J", NO_WINDOWS)
    return as_amount(mean_interval(values), "J", source)


def _idle(row: Row, windows: Sequence[Window]) -> Quantity:
    """Idle watts times the seconds of a request."""
    idle = row.record.idle.get("both")
    mine = [w for w in windows if w.who == "candidate" and w.phase == "generate" and w.iterations]
    if idle is None or idle.value is None or not mine:
        return missing("J", (idle.reason if idle else None) or "no idle window with both models")
    seconds = [(w.end_s - w.start_s) / (w.iterations * _batch(row.record)) for w in mine]
    return as_quantity(
        mean_interval([idle.value * time_s for time_s in seconds]), "J", idle.provenance
    )


def _score(row: Row) -> Quantity:
    """The candidate's scoring windows."""
    found = [
        energy_of(w) for w in row.record.windows if w.phase == "score" and w.who == "candidate"
    ]
    values = [each.value for each in found if each.value is not None]
    if not found or len(values) < len(found):
        return missing("J", "scoring was not metered")
    once = {"value": sum(values), "low": None, "high": None, "reason": "done once: no interval"}
    return found[0].model_copy(update=once)
