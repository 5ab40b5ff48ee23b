"""Joules per request and latency as requests arrive: a short table and its sentences for each run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from greenbench.analysis.groups.rows import Row
from greenbench.analysis.load_curve import by_load
from greenbench.report.figures.load_curve import file_name, told
from greenbench.report.markdown.format import (
    Column,
    Notes,
    code,
    only,
    prose,
    run_name,
    show,
    table,
)
from greenbench.report.markdown.sections.codes import counted
from greenbench.report.under_load import (
    FIRST_TOKEN,
    LATER_TOKENS,
    UNBOUNDED,
    UNITS,
    WHOLE,
    at_all,
    is_unbounded,
    loaded,
    pair,
    saturated,
    tail,
    winner,
)
from greenbench.schema.codes import meaning
from greenbench.schema.metrics import (
    E2E,
    ENERGY_PER_REQUEST,
    GOOD,
    MARGINAL_ENERGY_PER_REQUEST,
    Metric,
)
from greenbench.schema.quantity import Quantity, named
from greenbench.schema.resolved import ResolvedSlo
from greenbench.schema.traffic import Capacity, LoadCurve, LoadPoint
from greenbench.schema.window import WHO
from greenbench.wording import TIMES, percent

HOW: Final = (
    "- **Always-on** counts all joules while requests came, idle included, as a box draws that stays on. "
    "**Marginal** takes off idle power with both models loaded: what the requests add.",
    "- Baseline → candidate; both met the same requests at the same times, and ratios are paired by block.",
    f"- Latency counts from when a request was due, and is **{UNBOUNDED}** where requests came faster than "
    "they were answered, or too many were not answered at all.",
)
CODES: Final = ("failed_requests", "late_sends", "short_against_queue")
"""What only a load can be flagged for."""
SAID: Final = 1500


def under_load(rows: Sequence[Row]) -> list[str]:
    """A table, its sentences and its picture for each run under load; nothing where there is none."""
    found = loaded(rows)
    lines = ["**Under load**", "", *HOW, ""] if found else []
    for row, curve in found:
        lines += [
            f"{run_name(row)}:",
            "",
            *table(curve.points, columns(row, curve)),
            "",
            *(f"- {sentence}" for sentence in sentences(row, curve)),
            "",
            f"![{prose(told(row, curve), SAID)}]({file_name(row)})",
            "",
        ]
    return lines


def columns(row: Row, curve: LoadCurve) -> list[Column[LoadPoint]]:
    """Of the short table: energy, and the latencies that have a limit, or else the whole one."""
    limits = row.record.spec.slo
    return [
        Column(UNITS[curve.unit], lambda point, _: _load(point, curve)),
        Column("J/request, always-on", lambda p, n: _energy(p, ENERGY_PER_REQUEST, n)),
        Column("ratio", lambda point, notes: _ratio(point, ENERGY_PER_REQUEST, notes)),
        Column("marginal", lambda p, n: _energy(p, MARGINAL_ENERGY_PER_REQUEST, n)),
        Column(
            "marginal ratio",
            lambda point, notes: _ratio(point, MARGINAL_ENERGY_PER_REQUEST, notes),
        ),
        *(_limited(curve, limits) if _limits(limits) else _whole(curve)),
    ]


def sentences(row: Row, curve: LoadCurve) -> list[str]:
    """What the table says of the run: equal service, the winner, saturation, what disturbed it."""
    name = code(row.label)
    codes = counted(row.record)
    return [
        *_most(curve, row.record.spec.slo, name),
        winner(curve, name, show),
        *_saturated(curve, name),
        *_unanswered(row, curve, name),
        *_own(curve),
        *_cut(row),
        *_no_p99(curve, row.record.spec.slo),
        *(f"⚑ {code(found)}{codes[found]}: {meaning(found)}." for found in CODES if found in codes),
    ]


def _load(point: LoadPoint, curve: LoadCurve) -> str:
    text = f"{point.load:.4g}"
    return f"**{text}**" if point.load == curve.headline else text


def _energy(point: LoadPoint, metric: Metric, notes: Notes) -> str:
    return _both(only(found, notes) for found in pair(point, metric))


def _ratio(point: LoadPoint, metric: Metric, notes: Notes) -> str:
    return show(named(point.ratios, metric.ratio, "ratio"), notes, suffix=TIMES)


def _whole(curve: LoadCurve) -> list[Column[LoadPoint]]:
    metric, percentile = tail(curve)
    middle = [] if metric is E2E else [_latency("end to end p50, s", E2E, 1)]
    return [*middle, _latency(f"{'' if middle else 'end to end '}{percentile}, s", metric, 1)]


def _limited(curve: LoadCurve, limits: ResolvedSlo) -> list[Column[LoadPoint]]:
    return [
        *(
            _latency(f"{title} {percentile}, ms", metric, 1e3)
            for title, latency in _watched(limits)
            for metric, percentile in [tail(curve, latency)]
        ),
        Column(
            "within limits, %",
            lambda point, notes: _both(
                only(found.scaled(100, "%"), notes) for found in pair(point, GOOD)
            ),
        ),
    ]


def _watched(limits: ResolvedSlo) -> list[tuple[str, Sequence[Metric]]]:
    """The latencies that have a limit."""
    parts = (
        ("first token", FIRST_TOKEN, limits.ttft_ms),
        ("later tokens, request means,", LATER_TOKENS, limits.tpot_ms),
    )
    return [(title, latency) for title, latency, most in parts if most is not None]


def _latency(title: str, metric: Metric, factor: float) -> Column[LoadPoint]:
    def cell(found: Quantity, notes: Notes) -> str:
        return UNBOUNDED if is_unbounded(found) else only(found.scaled(factor, ""), notes)

    return Column(
        title, lambda point, notes: _both(cell(found, notes) for found in pair(point, metric))
    )


def _both(texts: Iterable[str]) -> str:
    """Baseline and candidate; once where both say the same of what is missing."""
    before, after = texts
    return before if before == after and not before[-1].isdigit() else f"{before} → {after}"


def _most(curve: LoadCurve, limits: ResolvedSlo, name: str) -> list[str]:
    """Energy at equal service: the most that each model serves within the limits."""
    names = {"baseline": "the baseline", "candidate": name}
    found = [f"{names[who]} {_served(curve.capacity[who], curve)}" for who in WHO
             if who in curve.capacity]  # fmt: skip
    if not found:
        return []
    within = f" within the limits ({said})" if (said := _limits(limits)) else ""
    return [f"The most served{within}, of the loads measured: {'; '.join(found)}."]


def _served(found: Capacity, curve: LoadCurve) -> str:
    if found.load.value is None:
        return f"none {show(found.load).removeprefix('n/a ')}"
    return f"{show(found.load)} {UNITS[curve.unit]} at {show(found.energy_per_request)} J/request"


def _limits(limits: ResolvedSlo) -> str:
    named = (("first token", limits.ttft_ms), ("later tokens", limits.tpot_ms))
    found = [f"{name} {most:g} ms" for name, most in named if most is not None]
    return f"{', '.join(found)}, {percent(limits.share)} of requests" if found else ""


def _saturated(curve: LoadCurve, name: str) -> list[str]:
    names = {"baseline": "the baseline", "candidate": name}
    found = [
        f"{names[who]} at {', '.join(f'{load:.4g}' for load in loads)}"
        for who, loads in saturated(curve).items()
    ]
    if not found:
        return []
    return [
        f"Saturated: {'; '.join(found)} {UNITS[curve.unit]}. The queue grew for as long as was looked: "
        "J/request there is that of a machine never idle, and latency has no bound."
    ]


def _unanswered(row: Row, curve: LoadCurve, name: str) -> list[str]:
    """How many requests of which model have no whole answer, and at which loads."""
    found = []
    for who, called in (("baseline", "the baseline"), ("candidate", name)):
        told = {
            load: [w.traffic for w in getattr(sides, who) if w.traffic]
            for load, sides in by_load(row.record.windows).items()
        }
        lost = {
            load: each for load, each in told.items() if any(t.failed + t.unfinished for t in each)
        }
        flat = [traffic for each in lost.values() for traffic in each]
        if flat:
            found.append(
                f"{called} {sum(t.failed for t in flat):,} failed and "
                f"{sum(t.unfinished for t in flat):,} given up on, of {sum(t.due for t in flat):,} at "
                f"{', '.join(f'{load:.4g}' for load in lost)} {UNITS[curve.unit]}"
            )
    return [f"Requests without a whole answer: {'; '.join(found)}."] if found else []


def _own(curve: LoadCurve) -> list[str]:
    if len(curve.points) == 1:
        return []
    at = f"{curve.headline:.4g} {UNITS[curve.unit]}"
    return [f"The run's other numbers are those at {at}, chosen before anything was measured."]


def _cut(row: Row) -> list[str]:
    """How many requests were not as long as the trace or the draw has them."""
    found = [window.traffic for window in row.record.windows if window.traffic]
    due = sum(each.due for each in found if each.cut is not None)
    cut = sum(each.cut or 0 for each in found)
    if not cut:
        return []
    return [
        f"{cut:,} of {due:,} requests were longer or shorter than any that is asked, and so were cut or "
        "filled up."
    ]


def _no_p99(curve: LoadCurve, limits: ResolvedSlo) -> list[str]:
    """Why a lower percentile stands in the table."""
    shown = [latency for _, latency in _watched(limits)] or [WHOLE]
    reasons = [
        found.reason
        for latency in shown
        if tail(curve, latency)[0] is not latency[0]
        for found in at_all(curve, latency[0])
        if found.value is None and not is_unbounded(found)
    ]
    return [f"No p99 at every load: {prose(reasons[0])}."] if reasons else []
