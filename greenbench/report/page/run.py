"""One run as ``index.html`` shows it: numbers rounded, no traces, no answers per item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from greenbench.analysis import accuracy
from greenbench.analysis.energy.above_idle import NO_COMMON_IDLE, above_idle, above_idle_ratio
from greenbench.analysis.energy.energy_label import label
from greenbench.analysis.energy.promises import break_even, prepare_energy
from greenbench.analysis.frontiers.axis import COST_NAMES
from greenbench.analysis.frontiers.frontier_confidence import Rival
from greenbench.analysis.groups.rows import Row
from greenbench.analysis.roofline import roofline_share
from greenbench.analysis.yardstick import ENERGY, SPEED
from greenbench.records.upgrades import FAMILIES
from greenbench.report.markdown.sections.headline_table import NOISE, loss_sign, sign
from greenbench.report.page.load_curve import under_load
from greenbench.report.page.numbers import Json, Pool, cleaned, quantity, rounded, shown
from greenbench.report.page.solved import graded
from greenbench.schema.metrics import (
    DEVICE_PEAK_BYTES,
    ENERGY_PER_TOKEN,
    HOST_PEAK_BYTES,
    MODEL_BYTES,
    SECONDS_PER_TOKEN,
    TOKENS_PER_S,
    TPOT,
    TTFT,
)
from greenbench.schema.quality import TaskScore
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record, Waiting
from greenbench.schema.technique import AppliedTechnique
from greenbench.schema.verdict import Verdict
from greenbench.wording import TIMES, chance, fixed, number, percent, signed

TIES: Final = 20  # named; in a group of thousands nearly all are ties

ALONE: Final = "bits_per_byte"
"""Told without its interval in its table."""


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
    "energy_above_idle_baseline": lambda row: above_idle(row, "baseline"),
    "energy_above_idle": above_idle,
    "energy_above_idle_ratio": above_idle_ratio,
    "idle_power": lambda row: row.record.idle.get("both") or missing("W", NO_COMMON_IDLE),
    "peak_memory": _peak,
    "prepare_energy": prepare_energy,
    "break_even": break_even,
    "energy_per_token_both_eager": lambda row: row.energy_both_eager,
    "roofline_baseline": lambda row: roofline_share(row.record, "baseline").scaled(100, "%"),
    "roofline_candidate": lambda row: roofline_share(row.record, "candidate").scaled(100, "%"),
}
"""Numbers of the tables that stand in no record by themselves."""
TABLED: Final = {
    metric.name for metric in (ENERGY_PER_TOKEN, TPOT, TTFT, TOKENS_PER_S, MODEL_BYTES)
}
"""The candidate's levels that stand in tables; all others are a run's own."""


def is_noise(row: Row) -> bool:
    """Whether it shows no effect on energy or speed."""
    return {sign(row, each) for each in (ENERGY, SPEED)} <= {NOISE, ""}


def summary(pool: Pool, row: Row, group: int, impacts: Mapping[str, Quantity]) -> Json:
    """What the tables and the figure need of a run; its `impacts` follow what is derived."""
    record = row.record
    standing = row.standing
    return {
        "label": shown(row.label),
        "key": shown(row.name),
        "group": group,
        "outcome": outcome(record),
        "aa": row.is_baseline,
        "families": families(record),
        "signs": [sign(row, yardstick) for yardstick in (ENERGY, SPEED)],
        "lost": loss_sign(row),
        "noise": is_noise(row),
        "frontier": row.frontier,
        "probability": rounded(standing.probability) if standing else None,
        "ties": [shown(name) for name in standing.ties[:TIES]] if standing else [],
        "moreTies": max(0, len(standing.ties) - TIES) if standing else 0,
        "share": percent(standing.probability) if standing else "",
        "beatenIn": COST_NAMES[row.axis],
        "rival": _rival(standing.rival) if standing and standing.rival else None,
        "noted": bool(record.model and record.model.note and not row.is_baseline),
        "energyLabel": [*map(shown, label(row))],
        "derived": [
            *(
                quantity(pool, read(row), change=name.endswith("_change"), alone=name == ALONE)
                for name, read in DERIVED.items()
            ),
            *(quantity(pool, found) for found in impacts.values()),
        ],
        "candidate": _numbers(pool, {name: q for name, q in row.metrics.items() if name in TABLED}),
        "ratios": _numbers(
            pool, record.ratios | {SECONDS_PER_TOKEN.ratio: row.ratio(SECONDS_PER_TOKEN)}
        ),
        "verdicts": {
            shown(name): [verdict.verdict, pool.place(verdict.barred)]
            for name, verdict in sorted(row.verdicts.items())
        },
        "command": shown(record.command),
        "codes": _codes(record),
        "why": _why(record),
    }


def _rival(rival: Rival) -> Json:
    """Who beats the run: by so many points, at which share of its energy or time, in how many draws."""
    return [
        shown(rival.label),
        signed(fixed(rival.quality, 1)),
        f"{fixed(rival.cost, 2)}{TIMES}",
        percent(rival.probability),
    ]


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
        _chance(verdict.p_adjusted),
        verdict.family,
        _chance(verdict.p_equivalence),
        pool.place(verdict.method),
        shown(verdict.reason),
    ]


def _chance(p_value: float | None) -> str | None:
    return None if p_value is None else chance(p_value)


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
        "engine": cleaned(record.engine.model_dump()) if record.engine else None,
        "candidateEngine": (
            cleaned(record.candidate_engine.model_dump()) if record.candidate_engine else None
        ),
        "unscored": cleaned(record.unscored),
        "waiting": _waiting(pool, record.waiting) if record.waiting else None,
        "idle": _numbers(pool, record.idle),
        "load": under_load(pool, row),
        "solved": graded(row),
        "stages": cleaned(record.stages_s),
    }
    return {name: part for name, part in found.items() if part}


def _waiting(pool: Pool, found: Waiting) -> Json:
    """What each model costs while it waits."""
    shares = {f"CPU time of the {who}'s server": q.scaled(100, "%") for who, q in found.cpu.items()}
    return _numbers(pool, {"idle power added by the second model": found.power, **shares})


def _task(pool: Pool, score: TaskScore) -> Json:
    """A task in %, where its items are answers, and how many items changed."""
    before, after, moved = score.baseline, score.candidate, score.change
    if score.is_accuracy:
        before, after = before.scaled(100, "%"), after.scaled(100, "%")
        moved = moved.scaled(100, "points")
    return {
        "task": shown(score.task),
        "metric": shown(score.metric),
        "split": shown(score.split),
        "levels": [
            quantity(pool, before),
            quantity(pool, after),
            quantity(pool, moved, change=True),
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
        "seconds": number(part.prepare_s),
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
