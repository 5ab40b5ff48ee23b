"""The leaderboard's tables: which columns they have, and what stands in a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from greenbench.analysis.choices.picks import surely_within
from greenbench.analysis.energy.above_idle import NO_COMMON_IDLE, above_idle, above_idle_ratio
from greenbench.analysis.energy.energy_label import label
from greenbench.analysis.groups.orders import BANDS
from greenbench.analysis.groups.rows import Group, Row
from greenbench.analysis.roofline import roofline_share
from greenbench.analysis.yardstick import ENERGY, SOLVED, SPEED, Yardstick, harms, helps
from greenbench.report.figures.energy_label import file_name
from greenbench.report.markdown import host
from greenbench.report.markdown.format import Column, Notes, code, only, run_name, show
from greenbench.report.markdown.sections import verdicts
from greenbench.schema.metrics import (
    DEVICE_PEAK_BYTES,
    ENERGY_PER_SOLVED,
    ENERGY_PER_TOKEN,
    HOST_PEAK_BYTES,
    MODEL_BYTES,
    SECONDS_PER_TOKEN,
    TPOT,
    TTFT,
    Metric,
)
from greenbench.schema.quantity import missing
from greenbench.schema.window import WHO
from greenbench.wording import ESTIMATE, TIMES, fixed, percent

MEMBER = "★"
NOTED = "†"
LOST, OPEN, KEPT = "●", "○", "–"
"""A loss of quality that is shown, one of more than a point that is not excluded, and none of either."""
BETTER, WORSE, NOISE = "▲", "▼", "="
"""A ratio, by the same rule as verdicts, whatever the tier."""


def _label(row: Row, _: Notes) -> str:
    noted = row.record.model and row.record.model.note and not row.is_baseline
    return f"{run_name(row)}{f' {NOTED}' if noted else ''}"


def _bits(row: Row, notes: Notes) -> str:
    bits = row.bits_per_byte
    if bits is None:
        return f"n/a {notes.mark('bits per byte was not scored')}"
    return f"{only(bits.candidate, notes)}; {show(bits.change, notes, change=True)}"


def _peak(row: Row, notes: Notes) -> str:
    """Peak memory of the device, or of the host where the device has none of its own."""
    for where, metric in (("device", DEVICE_PEAK_BYTES), ("host", HOST_PEAK_BYTES)):
        peak = row.metrics.get(metric.name)
        if peak and peak.value is not None:
            return f"{only(peak.scaled(1e-6, 'MB'), notes)} {where}"
    reason = peak.reason if peak else "the record has no peak memory"
    return f"n/a {notes.mark(reason)}"


def _milli(row: Row, notes: Notes, metric: Metric) -> str:
    return show(row.metric(metric).scaled(1e3, "ms"), notes)


def _size(row: Row, notes: Notes) -> str:
    ratio = row.ratio(MODEL_BYTES)
    share = "" if ratio.value is None else f" ({fixed(ratio.value, 2)}{TIMES})"
    return only(row.metric(MODEL_BYTES).scaled(1e-6, "MB"), notes) + share


FRONTIER: Final[Mapping[Metric, str]] = {
    ENERGY_PER_TOKEN: "frontier",
    ENERGY_PER_SOLVED: "frontier, J/solved",
    SECONDS_PER_TOKEN: "frontier, tokens/s",
}


def headline(group: Group) -> list[Column[Row]]:
    """Verdicts on energy; on time per token too, where joules cannot carry one."""
    return [
        Column("technique", _label),
        Column("quality change, points", _change),
        Column("J/token ratio", lambda row, notes: _ratio(row, ENERGY, notes)),
        *_own_kind(group.rows),
        *_verdicts(group.rows, ENERGY),
        *host.columns(group.rows),
        *_solved(group),
        Column("tokens/s ratio", lambda row, notes: _ratio(row, SPEED, notes)),
        *([] if group.setting.measured else _verdicts(group.rows, SPEED)),
        Column("energy label", _energy_label, may_go=True),
        Column(FRONTIER[group.axis], _frontier),
    ]


def _solved(group: Group) -> list[Column[Row]]:
    """Joules per solved problem, where answers were graded."""
    if not any(row.record.solved for row in group.rows):
        return []
    ratio = Column[Row]("J/solved ratio", lambda row, notes: _ratio(row, SOLVED, notes))
    return [ratio, *(_verdicts(group.rows, SOLVED) if group.setting.measured else [])]


def _own_kind(rows: Sequence[Row]) -> list[Column[Row]]:
    """A column for candidates that ran eager beside a compiled baseline; none where there is none."""
    if not any(row.why_eager for row in rows):
        return []
    return [Column("J/token ratio, both eager", _twin)]


def _twin(row: Row, notes: Notes) -> str:
    if row.why_eager is None:
        return "–"
    ratio = show(row.energy_both_eager, notes, suffix=TIMES)
    return f"{ratio} {notes.mark(f'ran eager, as {row.why_eager}')}"


def _energy_label(row: Row, notes: Notes) -> str:
    found = label(row)
    if not found.letter:
        return f"– {notes.mark(found.reason)}"
    return f"![energy label {found.letter}]({file_name(row)})"


def _frontier(row: Row, _: Notes) -> str:
    """Marked if on the frontier, with the share of resampled frontiers that hold the run."""
    share = percent(row.standing.probability) if row.standing else ""
    return f"{MEMBER if row.frontier else ''} {share}".strip()


def _change(row: Row, notes: Notes) -> str:
    return f"{loss_sign(row)} {show(row.change, notes, change=True, decimals=1)}".strip()


def loss_sign(row: Row) -> str:
    """Whether a loss of quality is shown, or may be; empty where that is not known."""
    interval = row.change.bounds
    if interval is None:
        return ""
    return LOST if interval[1] < 0 else KEPT if surely_within(row, BANDS[0]) else OPEN


def _ratio(row: Row, yardstick: Yardstick, notes: Notes) -> str:
    ratio = row.ratio(yardstick.metric)
    return f"{sign(row, yardstick)} {show(ratio, notes, suffix=TIMES)}".strip()


def sign(row: Row, yardstick: Yardstick) -> str:
    """Better, worse or within the noise; empty without an interval."""
    ratio = row.ratio(yardstick.metric)
    if ratio.bounds is None:
        return ""
    return BETTER if helps(ratio, yardstick) else WORSE if harms(ratio, yardstick) else NOISE


def _verdicts(rows: Sequence[Row], yardstick: Yardstick) -> list[Column[Row]]:
    """A column of verdicts; none for a table of records from before there were any."""
    if not verdicts.has_verdicts(rows, yardstick.metric.ratio):
        return []
    return [
        Column(
            f"verdict on {yardstick.noun}",
            lambda row, notes: verdicts.cell(row, yardstick.metric.ratio, notes),
            may_go=True,
        )
    ]


def _idle(row: Row, notes: Notes) -> str:
    power = row.record.idle.get("both") or missing("W", NO_COMMON_IDLE)
    provenance = "" if power.value is None else f" {code(power.provenance)}"
    return f"{show(power, notes)}{provenance}"


def _baseline_energy(row: Row, notes: Notes) -> str:
    return show(ENERGY_PER_TOKEN.level(row.baseline), notes)


QUALITY_AND_ENERGY: list[Column[Row]] = [
    Column("technique", _label),
    Column("quality, %", lambda row, notes: show(row.quality, notes, decimals=1)),
    Column("bits per byte; change", _bits, may_go=True),
    Column("J/token of the baseline", _baseline_energy),
    Column("J/token", lambda row, notes: show(row.energy, notes)),
    Column("ratio", lambda row, notes: show(row.ratio(ENERGY_PER_TOKEN), notes, suffix=TIMES)),
    Column("provenance", lambda row, _: code(row.energy.provenance), may_go=True),
    Column("baseline above idle", lambda row, notes: show(above_idle(row, "baseline"), notes)),
    Column("J/token above idle", lambda row, notes: show(above_idle(row), notes)),
    Column("ratio above idle", lambda row, notes: show(above_idle_ratio(row), notes, suffix=TIMES)),
    Column("idle power, W", _idle, may_go=True),
]


def latency_and_memory(group: Group) -> list[Column[Row]]:
    """With the share of the roofline where the device's ceiling was measured."""
    known = any(row.record.environment.get("roofline") for row in group.rows)
    return [
        Column("technique", _label),
        Column("per output token p50, ms", lambda row, notes: _milli(row, notes, TPOT)),
        Column("first token p50, ms", lambda row, notes: _milli(row, notes, TTFT)),
        *([Column("share of the roofline, baseline; candidate", _roofline)] if known else []),
        Column("model, MB", _size),
        Column("peak memory, MB", _peak, may_go=True),
    ]


def _roofline(row: Row, notes: Notes) -> str:
    shares = (roofline_share(row.record, who) for who in WHO)
    return "; ".join(
        f"{ESTIMATE}{percent(share.value)}" if share.value is not None else show(share, notes)
        for share in shares
    )
