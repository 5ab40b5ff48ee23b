"""A run as a section of a model card, with the hub's metadata on carbon emissions.

The metadata are those of https://huggingface.co/docs/hub/model-cards-co2: grams of CO2 that making
the model took. Here that is the preparation of the techniques: what the base model's own training
took is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import yaml

from greenbench.analysis.choices.limits import memory
from greenbench.analysis.energy.promises import prepare_energy
from greenbench.analysis.groups.comparable import setting
from greenbench.analysis.groups.rows import Row, technique
from greenbench.analysis.impact import Assumptions, impact
from greenbench.report.markdown.format import Column, Notes, code, fenced, only, prose, show, table
from greenbench.report.markdown.sections.codes import explained
from greenbench.report.under_load import UNITS, loaded, winner
from greenbench.schema.metrics import (
    DECODE_ENERGY_PER_TOKEN,
    ENERGY_PER_REQUEST,
    ENERGY_PER_TOKEN,
    MODEL_BYTES,
    TOKENS_PER_S,
    TPOT,
    TTFT,
    Metric,
)
from greenbench.schema.quality import TaskScore
from greenbench.schema.quantity import Quantity, missing, named
from greenbench.schema.record import Record
from greenbench.schema.traffic import LoadCurve
from greenbench.wording import ESTIMATE, TIMES, number, plain

WORLD = "WORLD"


class _Line(NamedTuple):
    what: str
    baseline: Quantity
    candidate: Quantity
    change: Quantity
    relative: bool
    """Whether the change is a ratio."""


def model_card(record: Record, given: Assumptions) -> str:
    """YAML front matter, where the joules of the preparation are known, and a markdown section."""
    row = Row(record, technique(record))
    emissions = _emissions(row, given)
    front = [] if emissions is None else ["---", *_yaml(row, emissions, given), "---", ""]
    return "\n".join([*front, *_section(row, emissions, given)]).rstrip() + "\n"


def _emissions(row: Row, given: Assumptions) -> float | None:
    """Grams of CO2e of the preparation's joules; its share of making the device is left out."""
    once = prepare_energy(row)
    return None if once.value is None else impact(once.value, 0.0, given).operational_g


def _yaml(row: Row, grams: float, given: Assumptions) -> list[str]:
    grid, once = given.grid, prepare_energy(row)
    known = "estimated, not measured" if once.is_estimate else "measured"
    names = ", ".join(part.name for part in row.record.techniques)
    metadata = {
        "emissions": float(f"{grams:.4g}"),
        "source": f"GreenBench: joules of the preparation, {known} ({once.provenance}), times an "
        f"assumed PUE of {given.pue:g} and {grid.g_per_kwh:g} g CO2e/kWh ({grid.country}, "
        f"{grid.year}, Ember); without the base model's own training",
        "training_type": f"optimization of a pre-trained model ({plain(names, 120)})",
        "geographical_location": _place(given),
        "hardware_used": plain(setting(row.record).device, 120),
    }
    text = yaml.safe_dump(
        {"co2_eq_emissions": metadata}, sort_keys=False, allow_unicode=True, width=10_000
    )
    return text.splitlines()


def _place(given: Assumptions) -> str:
    if given.country == WORLD:
        return "not stated; the world's average electricity is assumed"
    return given.grid.country


def _section(row: Row, emissions: float | None, given: Assumptions) -> list[str]:
    record, here = row.record, setting(row.record)
    return [
        "## Efficiency, measured by GreenBench",
        "",
        f"{code(row.label)} against the same model without it: {prose(here.title)}. Both were "
        f"measured side by side in one run of tier {prose(here.tier)}"
        f"{'' if here.claims else ', which **makes no claims**'}.",
        "",
        *table(_numbers(row), COLUMNS),
        "",
        *_remarks(row, emissions, given),
        "",
        "To measure it again:",
        "",
        *fenced([record.command]),
    ]


def _numbers(row: Row) -> list[_Line]:
    def line(what: str, metric: Metric, factor: float, unit: str) -> _Line:
        before, after = (metric.level(side).scaled(factor, unit) for side in sides)
        return _Line(f"{what}, {unit}", before, after, row.ratio(metric), True)

    sides = (row.baseline, row.metrics)
    return [
        line("energy per token", ENERGY_PER_TOKEN, 1, "J"),
        line("energy per decoded token", DECODE_ENERGY_PER_TOKEN, 1, "J"),
        line("speed", TOKENS_PER_S, 1, "tokens/s"),
        line("time per output token (median)", TPOT, 1e3, "ms"),
        line("time to the first token (median)", TTFT, 1e3, "ms"),
        line("weights", MODEL_BYTES, 1e-6, "MB"),
        _peak(*(memory(side).scaled(1e-6, "MB") for side in sides)),
        _Line("items answered right, %", row.baseline_quality, row.quality,
              row.change, False),
        *map(_task, row.record.quality),
    ]  # fmt: skip


def _peak(before: Quantity, after: Quantity) -> _Line:
    return _Line("peak memory, MB", before, after, missing("ratio", "each is a maximum"), True)


def _task(score: TaskScore) -> _Line:
    accuracy = score.is_accuracy
    before, after, change = (
        level.scaled(100, "%") if accuracy else level
        for level in (score.baseline, score.candidate, score.change)
    )
    name = f"{plain(score.task)} {plain(score.metric)}{', %' if accuracy else ''}"
    return _Line(name, before, after, change, False)


def _change(line: _Line, notes: Notes) -> str:
    if not line.relative:
        return show(line.change, notes, change=True)
    if line.change.value is not None and line.change.provenance == "measured:memory":
        return f"{only(line.change, notes)}{TIMES}"
    return show(line.change, notes, suffix=TIMES)


def _level(quantity: Quantity, notes: Notes) -> str:
    return (only if quantity.provenance == "measured:memory" else show)(quantity, notes)


def _under_load(row: Row, curve: LoadCurve) -> str:
    """Energy per request at the lowest and the highest load, and which model takes less where."""
    ends = dict.fromkeys((curve.points[0].load, curve.points[-1].load))
    ratios = [
        f"{show(named(point.ratios, ENERGY_PER_REQUEST.ratio, 'ratio'), suffix=TIMES)} at {point.load:.4g}"
        for point in curve.points
        if point.load in ends
    ]
    return (
        f"Under load, J/request over the baseline's, idle power counted, is {', '.join(ratios)} "
        f"{UNITS[curve.unit]}. {winner(curve, code(row.label), show)}"
    )


COLUMNS: list[Column[_Line]] = [
    Column("what", lambda line, _: prose(line.what)),
    Column("baseline", lambda line, notes: _level(line.baseline, notes)),
    Column("with it", lambda line, notes: _level(line.candidate, notes)),
    Column("ratio or change", _change),
    Column("from", lambda line, _: code(line.candidate.provenance)),
]


def _remarks(row: Row, emissions: float | None, given: Assumptions) -> Sequence[str]:
    once = prepare_energy(row)
    lines = [
        "Brackets hold 95 % intervals, of this one session. Ratios are paired by block, changes by item."
    ]
    if row.energy.is_estimate:
        lines.append(
            f"{ESTIMATE} marks an **estimate**: these joules follow CPU time and were not measured."
        )
    lines += [_under_load(row, curve) for _, curve in loaded([row])]
    if row.record.model and row.record.model.note:
        lines.append(f"{prose(row.record.model.note)}.")
    if not row.record.techniques:
        lines.append("Nothing was prepared, so no emissions are stated.")
    elif emissions is None:
        lines.append(f"No emissions are stated for the preparation: {prose(once.reason)}.")
    else:
        mark = ESTIMATE if once.is_estimate else ""
        lines.append(
            f"Preparing it took {mark}{number(once.value or 0.0)} J ({code(once.provenance)}), "
            f"{mark}{number(emissions)} g CO₂e at an assumed PUE of {given.pue:g} and "
            f"{number(given.grid.g_per_kwh)} g CO₂e/kWh ({prose(given.grid.country)}, "
            f"{given.grid.year}; Ember, CC BY 4.0)."
        )
    if row.record.validity != "valid":
        lines.append(f"The run is **{row.record.validity}**: {explained(row.record)}.")
    return [f"- {line}" for line in lines]
