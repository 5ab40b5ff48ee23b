"""The steps of a run that take more than a line: what `run` tells, these do."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from greenbench import models
from greenbench.errors import UserError
from greenbench.measure import blocks, summary
from greenbench.measure.load import on_battery
from greenbench.measure.windows import Recorder
from greenbench.meters import OpenMeters
from greenbench.meters.counter import validity
from greenbench.quality import scorer
from greenbench.records import (
    AppliedTechnique,
    Findings,
    MeterChoice,
    Settling,
    Subject,
    TaskScore,
    Who,
)
from greenbench.specs import ProtocolSpec, RunSpec
from greenbench.techniques import Preparation, Technique
from greenbench.verdicts import judge_exact

TICKS = 10  # a window of fewer ticks is wrong by over 10 %
Progress = Callable[[str, int, int], None]
"""Called as (stage, done, total)."""


def require_ticks(meters: OpenMeters, protocol: ProtocolSpec) -> None:
    """Raise UserError for windows too short for the counter that is to be read."""
    for meter in meters.meters[:1]:
        if protocol.window_s < TICKS * meter.tick_s:
            raise UserError(
                f"protocol.window_s={protocol.window_s:g} is shorter than {TICKS} ticks of the meter "
                f"{meter.name} ({meter.tick_s:g} s each), whose joules would be mostly rounding: "
                f"set protocol.window_s={TICKS * meter.tick_s:g} or more."
            )


def prepare(
    model: Any, stack: list[Technique], preparation: Preparation, recorder: Recorder
) -> tuple[Any, list[AppliedTechnique]]:
    """Apply the stack in order, each technique metered apart."""
    applied = []
    for technique in stack:
        promise = technique.promise(model)
        preparation.details.clear()
        with recorder.whole("prepare", "candidate"):
            model = technique.apply(model, preparation)
            gc.collect()  # what a technique replaced must not count as the candidate's memory
        window = recorder.windows[-1]
        applied.append(
            AppliedTechnique(
                name=technique.name,
                summary=technique.summary,
                paper=technique.paper,
                lossless=technique.lossless,
                promise=promise,
                prepare_s=window.end_s - window.start_s,
                details=dict(preparation.details),
            )
        )
    return model, applied


def score(
    pair: dict[Who, Any], tokenizer: Any, spec: RunSpec, recorder: Recorder, progress: Progress
) -> list[TaskScore]:
    """Both models' answers to the same items, compared."""
    answers = {}
    for position, who in enumerate(blocks.WHO):
        with recorder.whole("score", who):
            answers[who] = scorer.answers(
                pair[who],
                tokenizer,
                spec.task,
                lambda done, total, position=position: progress(  # type: ignore[misc]
                    "score", position * total + done, 2 * total
                ),
            )
    return scorer.compare(answers["baseline"], answers["candidate"])


def conclude(
    spec: RunSpec,
    meters: OpenMeters,
    recorder: Recorder,
    pair: dict[Who, Any],
    warmth: dict[Who, Settling],
) -> Findings:
    """Turn windows into numbers and verdicts."""
    tier, reason = spec.protocol.tier.value, recorder.no_energy_reason()
    windows = summary.valid_blocks(recorder.windows)
    settled = all(state.settled for state in warmth.values())
    codes = summary.run_codes(recorder.windows, tier, settled, on_battery())
    sound = validity(codes)
    held = {who: models.storage_bytes(pair[who]) for who in blocks.WHO}
    size = {who: sum(held[who].values()) for who in blocks.WHO}
    ratios = summary.ratios(windows, reason)
    ratios["model_bytes"] = summary.exact_ratio(size["baseline"], size["candidate"])
    subjects = {
        who: Subject(
            parameters=pair[who].num_parameters(),
            layers=pair[who].config.get_text_config().num_hidden_layers,
            dtypes=held[who],
            metrics=summary.metrics(windows, who, reason)
            | summary.memory(windows, who, size, pair[who].device.type),
        )
        for who in blocks.WHO
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
        idle=summary.idle_power(recorder.windows, reason),
    )
