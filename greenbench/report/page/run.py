"""One run as ``index.html`` shows it: numbers rounded, no traces, no answers per item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final

from greenbench.analysis import accuracy
from greenbench.analysis.energy.energy_by_meter import NO_IDLE, above_idle
from greenbench.analysis.energy.energy_label import label
from greenbench.analysis.energy.promises import break_even, prepare_energy
from greenbench.analysis.groups.rows import Row
from greenbench.records.upgrades import FAMILIES
from greenbench.schema.metrics import (
    DEVICE_PEAK_BYTES,
    ENERGY_PER_TOKEN,
    HOST_PEAK_BYTES,
    MODEL_BYTES,
    TOKENS_PER_S,
    TPOT,
    TTFT,
)
from greenbench.schema.quality import TaskScore
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.technique import AppliedTechnique
from greenbench.schema.verdict import Verdict
from greenbench.wording import visible

Json = Any
LONGEST: Final = 4000  # characters of one string
TIES: Final = 20  # named; in a group of thousands nearly all are ties


class Pool:
    """Values that many runs share, each kept once and named by its place."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._known: dict[object, int] = {}

    def place(self, text: object) -> int:
        """Where the visible characters of `text` are kept; -1 for None."""
        if text is None:
            return -1
        found = self._known.get(text)
        if found is None:
            found = self._places.setdefault(shown(text), len(self._places))
            self._known[text] = found
        return found

    @property
    def values(self) -> list[str]:
        """All strings, in the order of their places."""
        return list(self._places)


def shown(text: object) -> str:
    """`text` in one line of visible characters, cut where it gets absurdly long."""
    line = str(text)
    if not (line.isascii() and line.isprintable()):
        line = visible(line)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def cleaned(tree: Json) -> Json:
    """A JSON value whose strings and keys are `shown`, and whose floats are rounded."""
    if isinstance(tree, Mapping):
        return {shown(name): cleaned(tree[name]) for name in sorted(tree, key=str)}
    if isinstance(tree, list | tuple):
        return [cleaned(value) for value in tree]
    if isinstance(tree, float):
        return rounded(tree) if isfinite(tree) else str(tree)
    return tree if tree is None or isinstance(tree, bool | int) else shown(tree)


def rounded(value: float | None) -> float | None:
    """`value` to 7 digits: more than any table shows, so that rounding again changes nothing."""
    if value is None:
        return None
    short = float(f"{value:.7g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def quantity(pool: Pool, found: Quantity) -> Json:
    """A number as value, low, high, n, and the places of its unit, provenance and reason."""
    return [
        rounded(found.value),
        rounded(found.low),
        rounded(found.high),
        found.n,
        pool.place(found.unit),
        pool.place(found.provenance),
        pool.place(found.reason),
    ]


def _bits(row: Row) -> Quantity:
    score = row.bits_per_byte
    return score.candidate if score else missing("bit/byte", "bits per byte was not scored")


def _bits_change(row: Row) -> Quantity:
    score = row.bits_per_byte
    return score.change if score else missing("bit/byte", "bits per byte was not scored")


def _peak(row: Row) -> Quantity:
    """Peak memory of the device, or of the host where the device has none of its own."""
    found = [row.metric(peak) for peak in (DEVICE_PEAK_BYTES, HOST_PEAK_BYTES)]
    return next((peak for peak in found if peak.value is not None), found[0])


DERIVED: Final[dict[str, Callable[[Row], Quantity]]] = {
    "quality": lambda row: row.quality,
    "quality_change": lambda row: row.change,
    "bits_per_byte": _bits,
    "bits_per_byte_change": _bits_change,
    "energy_above_idle": above_idle,
    "idle_power": lambda row: row.record.idle.get("both") or missing("W", NO_IDLE),
    "peak_memory": _peak,
    "prepare_energy": prepare_energy,
    "break_even": break_even,
}
"""Numbers of the tables that stand in no record by themselves."""
TABLED: Final = {
    metric.name for metric in (ENERGY_PER_TOKEN, TPOT, TTFT, TOKENS_PER_S, MODEL_BYTES)
}
"""The candidate's levels that stand in tables; all others are a run's own."""


def summary(pool: Pool, row: Row, group: int, impacts: Mapping[str, Quantity]) -> Json:
    """What the tables and the figure need of a run; its `impacts` follow what is derived."""
    record = row.record
    standing = row.standing
    rival = standing.rival if standing else None
    return {
        "label": shown(row.label),
        "key": shown(record.key),
        "group": group,
        "outcome": outcome(record),
        "aa": row.is_baseline,
        "families": families(record),
        "frontier": row.frontier,
        "probability": rounded(standing.probability) if standing else None,
        "ties": [shown(name) for name in standing.ties[:TIES]] if standing else [],
        "moreTies": max(0, len(standing.ties) - TIES) if standing else 0,
        "rival": cleaned(list(rival)) if rival else None,
        "noted": bool(record.model and record.model.note and not row.is_baseline),
        "energyLabel": [*map(shown, label(row))],
        "derived": [
            quantity(pool, found)
            for found in (*(read(row) for read in DERIVED.values()), *impacts.values())
        ],
        "candidate": _numbers(pool, {name: q for name, q in row.metrics.items() if name in TABLED}),
        "ratios": _numbers(pool, record.ratios),
        "verdicts": {
            shown(name): [verdict.verdict, pool.place(verdict.barred)]
            for name, verdict in sorted(row.verdicts.items())
        },
        "command": shown(record.command),
        "codes": _codes(record),
        "why": _why(record),
    }


def outcome(record: Record) -> str:
    """Completed runs by their validity, others by their status."""
    return record.validity if record.status == "completed" else record.status


def families(record: Record) -> list[str]:
    """The families of the run's techniques; a stack may belong to several."""
    kept = {part.name: part.family for part in record.techniques}
    known = FAMILIES | kept  # a run that failed may not have come as far as to say it
    found = {known.get(part.name, "other") for part in record.spec.technique}
    return sorted(shown(name).replace("_", " ") for name in found) or ["none (A/A)"]


def _numbers(pool: Pool, numbers: Mapping[str, Quantity]) -> Json:
    return {shown(name): quantity(pool, numbers[name]) for name in sorted(numbers)}


def _tests(pool: Pool, verdict: Verdict) -> Json:
    """What a verdict rests on: Holm's p-value and its family, that of equivalence, the reason."""
    return [
        rounded(verdict.p_adjusted),
        verdict.family,
        rounded(verdict.p_equivalence),
        pool.place(verdict.method),
        shown(verdict.reason),
    ]


def details(pool: Pool, row: Row) -> Json:
    """What is shown of a run alone; empty parts are left out."""
    record = row.record
    verdicts = {shown(name): _tests(pool, v) for name, v in sorted(row.verdicts.items())}
    found = {
        "candidate": _numbers(pool, row.metrics),
        "baseline": _numbers(pool, row.baseline),
        "verdicts": verdicts,
        "tasks": [_task(pool, score) for score in record.quality],
        "parts": [_part(pool, part) for part in record.techniques],
        "output": [shown(line) for line in record.failure.log_tail] if record.failure else [],
        "model": cleaned(record.model.model_dump()) if record.model else None,
        "meter": cleaned(record.meter.model_dump()) if record.meter else None,
        "warmup": cleaned({who: end.model_dump() for who, end in record.warmup.items()}),
        "stopping": cleaned(record.stopping.model_dump()) if record.stopping else None,
        "design": [record.design, shown(record.design_reason or "")],
        "started": shown(record.started_at),
        "idle": _numbers(pool, record.idle),
        "stages": cleaned(record.stages_s),
    }
    return {name: part for name, part in found.items() if part}


def _task(pool: Pool, score: TaskScore) -> Json:
    """A task in %, where its items are answers, and how many items changed."""
    percent = score.is_accuracy
    levels = (score.baseline, score.candidate, score.change)
    return {
        "task": shown(score.task),
        "metric": shown(score.metric),
        "split": shown(score.split),
        "levels": [
            quantity(pool, level.scaled(100, "%") if percent else level) for level in levels
        ],
        "changed": accuracy.changed_items(score),
        "items": len(score.items),
    }


def _part(pool: Pool, part: AppliedTechnique) -> Json:
    return {
        "name": shown(part.name),
        "summary": shown(part.summary),
        "paper": shown(part.paper or ""),
        "lossless": part.lossless,
        "promise": cleaned(part.promise.model_dump(exclude_none=True)),
        "seconds": rounded(part.prepare_s),
        "energy": quantity(pool, part.prepare_energy),
        "details": cleaned(part.details),
        "observed": cleaned(part.observed),
    }


def _why(record: Record) -> str | None:
    """Why a run has no result."""
    failure = record.failure
    if failure is None:
        return None
    stage = f" in stage {failure.phase}" if failure.phase else ""
    return shown(f"{failure.reason.replace('_', ' ')}{stage}: {failure.message}")


def _codes(record: Record) -> Json:
    """The run's codes, or its windows' where it has none: each with how many of how many windows have it."""
    counts = Counter(found for window in record.windows for found in window.codes)
    return [
        [shown(found), counts[found], len(record.windows)]
        for found in record.codes or sorted(counts)
    ]
