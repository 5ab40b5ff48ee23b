"""The steps of a run that take more than a line: what `run` tells, these do."""

from __future__ import annotations

from collections.abc import Mapping

from greenbench.analysis import blocks, disturbances, footprint
from greenbench.analysis.difficulty import Asked, summarise
from greenbench.analysis.verdicts import judge_exact
from greenbench.engines.engine import Footprint
from greenbench.machine.cpu_load import on_battery
from greenbench.measure.recorder import Recorder
from greenbench.meters import OpenMeters
from greenbench.schema.codes import validity
from greenbench.schema.record import WHO, Findings, MeterChoice, Settling, Subject, Who
from greenbench.schema.spec import RunSpec


def conclude(
    spec: RunSpec,
    meters: OpenMeters,
    recorder: Recorder,
    footprints: Mapping[Who, Footprint],
    warmth: dict[Who, Settling],
    asked: Asked | None,
    *,
    on_device: str,
    together: bool,
) -> Findings:
    """Turn windows into numbers and verdicts."""
    tier, reason = spec.protocol.tier.value, recorder.no_energy_reason()
    recorder.windows = disturbances.with_clock_codes(recorder.windows)
    windows = blocks.valid_blocks(recorder.windows)
    settled = all(state.settled for state in warmth.values())
    codes = disturbances.run_codes(recorder.windows, tier, settled, on_battery())
    codes += [] if together else disturbances.drift_codes(windows)
    sound = validity(codes)
    size = {who: sum(footprints[who].bytes_by_dtype.values()) for who in WHO}
    ratios = blocks.ratios(windows, reason)
    ratios["model_bytes"] = footprint.exact_ratio(size["baseline"], size["candidate"])
    subjects = {
        who: Subject(
            parameters=footprints[who].parameters,
            layers=footprints[who].layers,
            dtypes=dict(footprints[who].bytes_by_dtype),
            metrics=blocks.metrics(windows, who, reason)
            | footprint.byte_counts(windows, who, size, on_device, together),
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
        verdicts=blocks.verdicts(windows, tier, sound)
        | {"model_bytes": judge_exact("model_bytes", size["baseline"], size["candidate"])},
        uncertainty=blocks.budgets(windows, energy, ratios["energy_per_token"]),
        validity=sound,
        codes=codes,
        warmup=warmth,
        idle=blocks.idle_power(recorder.windows, reason),
        difficulty=asked and summarise(asked, recorder.windows, tier, sound, reason),
    )
