"""The story of one run, in its own process: from a spec to everything that was found out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from greenbench import models, texts
from greenbench.machine import Machine, detect
from greenbench.measure import blocks
from greenbench.measure.warmup import warm_up
from greenbench.measure.windows import Recorder
from greenbench.measure.workloads import Requests
from greenbench.meters import OpenMeters, open_meters
from greenbench.meters.counter import Lost
from greenbench.meters.power import NvmlPower
from greenbench.meters.wall import WallLog
from greenbench.quality import tasks
from greenbench.records import (
    Failure,
    Findings,
    Who,
)
from greenbench.specs import MeterSpec, RunSpec
from greenbench.steps import Progress, conclude, prepare, require_ticks, score
from greenbench.techniques import Preparation, Technique, check_order


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
    done = order[: 1 + max(window.block or 0 for window in recorder.windows)]
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
            "block_order": [[f"{who}:{phase}" for who, phase in block] for block in done],
        }
    )


def _wall_log(spec: MeterSpec) -> WallLog | None:
    return WallLog(Path(spec.wall_log), spec.wall_offset_s) if spec.wall_log else None


def _refuse(spec: RunSpec, stack: list[Technique], machine: Machine) -> None:
    _wall_log(spec.meter)  # says what is wrong with the log, if anything is
    check_order(stack)
    for technique in stack:
        technique.check(machine)
    tasks.check_tasks(spec.task)
