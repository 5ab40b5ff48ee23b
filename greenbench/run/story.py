"""The story of one run, in its own process: from a spec to everything that was found out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from greenbench.engines.transformers import load
from greenbench.errors import Lost
from greenbench.machine.detect import Machine, detect
from greenbench.measure import schedule
from greenbench.measure.pair import InTurn, Pair, Together, apart_reason, empty_caches
from greenbench.measure.recorder import Recorder
from greenbench.measure.requests import Requests
from greenbench.measure.warmup import warm, warm_up
from greenbench.meters import OpenMeters, open_meters
from greenbench.meters.nvml_power import NvmlPower
from greenbench.meters.wall_log import WallLog
from greenbench.models import files, texts, weights
from greenbench.quality import tasks
from greenbench.run.conclude import conclude, shape
from greenbench.run.preflight import IN_PROCESS, refuse_model, require_ticks
from greenbench.run.prepare import Candidate, Place, Progress
from greenbench.run.questions import ask, score
from greenbench.schema.record import WHO, Failure, Findings, Window
from greenbench.schema.spec import MeterSpec, RunSpec
from greenbench.techniques import Technique, check_order


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
    protocol, workload, sensor = spec.protocol, spec.workload, _sensor(meters)
    with stages("idle"):
        recorder.idle("empty", protocol.idle_s)
    with stages("load"):
        path = _suited(spec, stack)
        model, tokenizer = load.load(spec.model, path, machine.device_map)
    requests = Requests(tokenizer, texts.passages("prompt"), workload, spec.seed)
    apart = _apart(spec, machine, model)
    place = Place(machine, path, tokenizer, again=apart is not None)
    candidate = Candidate(spec, stack, place, recorder, stages.progress)
    order = schedule.rounds(protocol, spec.seed, in_turn=apart is not None)
    warmed = partial(_warm_once, requests, spec, sensor)
    pair = _in_turn(model, candidate, warmed) if apart else _together(model, candidate, stages)
    del model
    resident_s = 0.0 if apart else protocol.idle_s
    with stages("score"):
        scored = score(pair, place, spec, recorder, stages.progress)
    with stages("idle"):
        recorder.idle("both", resident_s)
    with stages("warmup"):
        warmth = warm_up(pair, requests, workload, protocol, sensor)
    with stages("measure"):
        stopping = schedule.measure(
            recorder, pair, requests, workload, protocol, order, stages.progress
        )
    applied = candidate.applied()  # as the blocks show it: answers have another mix of texts
    with stages("difficulty"):
        asked = ask(pair, candidate, spec, scored.quality, recorder, apart, stages.progress)
    with stages("idle"):
        recorder.idle("both", resident_s)
        shapes = {who: shape(pair[who]) for who in WHO}
        del pair
        candidate.close()
        empty_caches()
        recorder.idle("unloaded", resident_s)
    with stages("finish"):
        if log := _wall_log(spec.meter):
            recorder.join(log)
        findings = conclude(spec, meters, recorder, shapes, warmth, asked, together=not apart)
    return findings.model_copy(
        update={
            "model": files.facts(spec.model, path),
            "techniques": applied,
            **scored._asdict(),
            "warmup": warmth,
            "design": "sequential" if apart else "interleaved",
            "design_reason": apart,
            "stopping": stopping,
            "block_order": _order(recorder.windows),
        }
    )


def _sensor(meters: OpenMeters) -> NvmlPower | None:
    return next((meter for meter in meters.meters if isinstance(meter, NvmlPower)), None)


def _apart(spec: RunSpec, machine: Machine, model: Any) -> str | None:
    """Why a second `model` does not go beside this one."""
    size = sum(weights.storage_bytes(model).values())
    spread = len(machine.uuids) > 1
    return apart_reason(spec.protocol.design, machine.torch_device, size, spread=spread)


def _together(baseline: Any, candidate: Candidate, stages: Stages) -> Pair:
    """Both models, loaded and prepared."""
    with stages("load"):
        fresh = candidate.load()
    with stages("prepare"):
        prepared = candidate.prepare(fresh)
    return Together({"baseline": baseline, "candidate": prepared}, candidate.around)


def _in_turn(baseline: Any, candidate: Candidate, once: Callable[[Any], object]) -> Pair:
    """One model at a time, warmed up after each change."""

    def plain() -> Any:
        model = candidate.load()
        once(model)
        return model

    def prepared() -> Any:
        model = candidate.prepare(candidate.load())
        with candidate.around(model):
            once(model)
        return model

    return InTurn({"baseline": plain, "candidate": prepared}, baseline, candidate.around)


def _suited(spec: RunSpec, stack: list[Technique]) -> Path:
    """The model's directory, once its configuration suits the stack."""
    path = files.directory(spec.model)
    refuse_model(stack, files.config(spec.model, path), spec.workload)
    return path


def _warm_once(requests: Requests, spec: RunSpec, sensor: NvmlPower | None, model: Any) -> None:
    """As short as the protocol allows: it comes back at every change of models."""
    brief = replace(spec.protocol, warmup_limit_s=spec.protocol.warmup_s)
    warm(model, requests, spec.workload, brief, sensor)


def _order(windows: Sequence[Window]) -> list[list[str]]:
    """Per block, its windows as ``who:phase`` in the order they were taken."""
    taken: dict[int, list[str]] = {}
    for window in windows:
        if window.block is not None:
            taken.setdefault(window.block, []).append(f"{window.who}:{window.phase}")
    return [taken[block] for block in sorted(taken)]


def _wall_log(spec: MeterSpec) -> WallLog | None:
    return WallLog(Path(spec.wall_log), spec.wall_offset_s) if spec.wall_log else None


def _refuse(spec: RunSpec, stack: list[Technique], machine: Machine) -> None:
    _wall_log(spec.meter)  # says what is wrong with the log, if anything is
    check_order(stack)
    for technique in stack:
        technique.check(machine, IN_PROCESS)
    tasks.check_tasks(spec.task)
