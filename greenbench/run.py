"""The story of one run, in its own process: from a spec to everything that was found out."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from greenbench import models, texts
from greenbench.errors import UserError
from greenbench.machine import Machine, detect
from greenbench.measure import blocks, summary
from greenbench.measure.load import on_battery
from greenbench.measure.warmup import warm_up
from greenbench.measure.windows import Recorder
from greenbench.measure.workloads import Requests
from greenbench.meters import OpenMeters, open_meters
from greenbench.meters.counter import Lost, validity
from greenbench.meters.power import NvmlPower
from greenbench.meters.wall import WallLog
from greenbench.quality import scorer, tasks
from greenbench.records import (
    AppliedTechnique,
    Failure,
    Findings,
    MeterChoice,
    Settling,
    Subject,
    TaskScore,
    Who,
)
from greenbench.specs import MeterSpec, ProtocolSpec, RunSpec
from greenbench.techniques import Preparation, Technique, check_order
from greenbench.verdicts import judge_exact

TICKS = 10  # a window of fewer ticks is wrong by over 10 %
Progress = Callable[[str, int, int], None]
"""Called as (stage, done, total)."""


class Stages:
    """Wall seconds by stage; announces each stage as it begins."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.progress(name, 0, 1)
        start = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start


def run(spec: RunSpec, *, progress: Progress) -> Findings:
    """Measure `spec`'s candidate against its baseline.

    Raises UserError, before any model is loaded, for what cannot run here. A device that vanishes
    leaves what was measured until then, and a failure.
    """
    stages = Stages(progress)
    transformers.utils.logging.disable_progress_bar()  # the log is no terminal
    machine = detect(spec.device)
    stack: list[Technique] = list(spec.technique.values())
    _refuse(spec, stack, machine)
    torch.manual_seed(spec.seed)
    with open_meters(spec.meter, machine.uuids) as meters:
        require_ticks(meters, spec.protocol)
        recorder = Recorder(meters, machine.torch_device, spec.seed)
        try:
            findings = _tell(spec, stack, machine, meters, recorder, stages)
        except Lost as lost:
            findings = Findings(
                windows=recorder.windows,
                validity="invalid",
                codes=[lost.code],
                failure=Failure(reason="device_lost", message=str(lost), phase=None, log_tail=[]),
            )
    return findings.model_copy(update={"stages_s": stages.seconds})


def _tell(
    spec: RunSpec,
    stack: list[Technique],
    machine: Machine,
    meters: OpenMeters,
    recorder: Recorder,
    stages: Stages,
) -> Findings:
    """The story itself: load, prepare, score, warm up, measure, conclude."""
    protocol, progress = spec.protocol, stages.progress
    with stages("idle"):
        recorder.idle("empty", protocol.idle_s)
    with stages("load"):
        path = models.directory(spec.model)
        baseline, candidate = (
            models.load(spec.model, path, machine.torch_device) for _ in range(2)
        )
    preparation = Preparation(
        machine.torch_device, baseline.tokenizer, lambda: texts.passages("calibrate")
    )
    with stages("prepare"):
        model, applied = prepare(candidate.model, stack, preparation, recorder)
    pair: dict[Who, Any] = {"baseline": baseline.model, "candidate": model}
    del candidate
    requests = Requests(baseline.tokenizer, texts.passages("prompt"), spec.workload, spec.seed)
    with stages("score"):
        quality = score(pair, baseline.tokenizer, spec, recorder, progress)
    with stages("idle"):
        recorder.idle("both", protocol.idle_s)
    with stages("warmup"):
        sensor = next((m for m in meters.meters if isinstance(m, NvmlPower)), None)
        warmth = warm_up(pair, requests, spec.workload, protocol, sensor)
    order = blocks.schedule(protocol.max_blocks, spec.seed)
    with stages("measure"):
        stopping = blocks.measure(
            recorder, pair, requests, spec.workload, protocol, order, progress
        )
    with stages("idle"):
        recorder.idle("both", protocol.idle_s)
    with stages("finish"):
        if log := _wall_log(spec.meter):
            recorder.join(log)
        findings = conclude(spec, meters, recorder, pair, warmth)
    return findings.model_copy(
        update={
            "model": models.facts(spec.model, path),
            "techniques": applied,
            "quality": quality,
            "warmup": warmth,
            "stopping": stopping,
            "block_order": [[f"{who}:{phase}" for who, phase in block] for block in order],
        }
    )


def require_ticks(meters: OpenMeters, protocol: ProtocolSpec) -> None:
    """Raise UserError for windows too short for the counter that is to be read."""
    for meter in meters.meters[:1]:
        if protocol.window_s < TICKS * meter.tick_s:
            raise UserError(
                f"protocol.window_s={protocol.window_s:g} is shorter than {TICKS} ticks of the meter "
                f"{meter.name} ({meter.tick_s:g} s each), whose joules would be mostly rounding: "
                f"set protocol.window_s={TICKS * meter.tick_s:g} or more."
            )


def _wall_log(spec: MeterSpec) -> WallLog | None:
    return WallLog(Path(spec.wall_log), spec.wall_offset_s) if spec.wall_log else None


def _refuse(spec: RunSpec, stack: list[Technique], machine: Machine) -> None:
    _wall_log(spec.meter)  # says what is wrong with the log, if anything is
    check_order(stack)
    for technique in stack:
        technique.check(machine)
    tasks.check_tasks(spec.task)


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
