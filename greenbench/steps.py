"""The steps of a run that take more than a line: what `run` tells, these do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from greenbench import models
from greenbench.errors import UserError
from greenbench.measure import difficulty, faults, sizes, summary
from greenbench.measure.difficulty_summary import summarise
from greenbench.measure.load import on_battery
from greenbench.measure.pair import WHO
from greenbench.measure.windows import TICKS, Recorder
from greenbench.meters import OpenMeters
from greenbench.meters.counter import validity
from greenbench.records import Findings, MeterChoice, Settling, Subject, Who
from greenbench.specs import ProtocolSpec, RunSpec
from greenbench.verdicts import judge_exact


def require_ticks(meters: OpenMeters, protocol: ProtocolSpec) -> None:
    """Raise UserError for windows too short for the counter that is to be read."""
    for meter in meters.meters[:1]:
        if protocol.window_s < TICKS * meter.tick_s:
            raise UserError(
                f"protocol.window_s={protocol.window_s:g} is shorter than {TICKS} ticks of the meter "
                f"{meter.name} ({meter.tick_s:g} s each), whose joules would be mostly rounding: "
                f"set protocol.window_s={TICKS * meter.tick_s:g} or more."
            )


class Shape(NamedTuple):
    """What is kept of a model once it is gone."""

    held: dict[str, int]
    parameters: int
    layers: int
    device: str


def shape(model: Any) -> Shape:
    """The shape of a loaded model."""
    return Shape(
        models.storage_bytes(model),
        model.num_parameters(),
        model.config.get_text_config().num_hidden_layers,
        model.device.type,
    )


def conclude(
    spec: RunSpec,
    meters: OpenMeters,
    recorder: Recorder,
    shapes: Mapping[Who, Shape],
    warmth: dict[Who, Settling],
    asked: difficulty.Asked | None,
    *,
    together: bool,
) -> Findings:
    """Turn windows into numbers and verdicts."""
    tier, reason = spec.protocol.tier.value, recorder.no_energy_reason()
    recorder.windows = faults.with_clock_codes(recorder.windows)
    windows = summary.valid_blocks(recorder.windows)
    settled = all(state.settled for state in warmth.values())
    codes = faults.run_codes(recorder.windows, tier, settled, on_battery())
    codes += [] if together else faults.drift_codes(windows)
    sound = validity(codes)
    held = {who: shape.held for who, shape in shapes.items()}
    size = {who: sum(held[who].values()) for who in WHO}
    ratios = summary.ratios(windows, reason)
    ratios["model_bytes"] = sizes.exact_ratio(size["baseline"], size["candidate"])
    subjects = {
        who: Subject(
            parameters=shapes[who].parameters,
            layers=shapes[who].layers,
            dtypes=held[who],
            metrics=summary.metrics(windows, who, reason)
            | sizes.byte_counts(windows, who, size, shapes[who].device, together),
        )
        for who in WHO
    }
    energy = subjects["candidate"].metrics["energy_per_token_j"]
    return Findings(
        meter=MeterChoice(
            used=recorder.used,
            refused=meters.refused,
            notes=meters.notes,
        ),
        windows=recorder.windows,
        baseline=subjects["baseline"],
        candidate=subjects["candidate"],
        ratios=ratios,
        verdicts=summary.verdicts(windows, tier, sound)
        | {"model_bytes": judge_exact("model_bytes", size["baseline"], size["candidate"])},
        uncertainty=summary.budgets(windows, energy, ratios["energy_per_token"]),
        validity=sound,
        codes=codes,
        warmup=warmth,
        idle=summary.idle_power(recorder.windows, reason),
        difficulty=asked and summarise(asked, recorder.windows, tier, sound, reason),
    )
