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
from greenbench.machine import Machine, detect
from greenbench.measure import blocks, summary
from greenbench.measure.windows import Recorder
from greenbench.measure.workloads import Requests
from greenbench.meters import OpenMeters, open_meters
from greenbench.quality import scorer, tasks
from greenbench.records import AppliedTechnique, Findings, MeterChoice, Subject, TaskScore, Who
from greenbench.specs import RunSpec
from greenbench.techniques import Preparation, Technique, check_order

Progress = Callable[[str, int, int], None]
"""Called as (stage, done, total)."""


class Stages:
    """Wall seconds by stage; announces each stage as it begins."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._progress(name, 0, 1)
        start = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start


def run(spec: RunSpec, *, progress: Progress) -> Findings:
    """Measure `spec`'s candidate against its baseline.

    Raises UserError, before any model is loaded, for what cannot run here.
    """
    stages = Stages(progress)
    transformers.utils.logging.disable_progress_bar()  # the log is no terminal
    machine = detect(spec.device)
    stack: list[Technique] = list(spec.technique.values())
    _refuse(spec, stack, machine)
    torch.manual_seed(spec.seed)
    with stages("load"):
        path = models.directory(spec.model)
        baseline, candidate = (
            models.load(spec.model, path, machine.torch_device) for _ in range(2)
        )
    with open_meters(spec.meter, machine.uuids) as meters:
        recorder = Recorder(meters, machine.torch_device)
        preparation = Preparation(
            machine.torch_device, baseline.tokenizer, lambda: texts.passages("calibrate")
        )
        with stages("prepare"):
            model, applied = prepare(candidate.model, stack, preparation, recorder)
        pair: dict[Who, Any] = {"baseline": baseline.model, "candidate": model}
        del candidate
        with stages("score"):
            quality = score(pair, baseline.tokenizer, spec, recorder, progress)
        requests = Requests(baseline.tokenizer, texts.passages("prompt"), spec.workload, spec.seed)
        with stages("warmup"):
            blocks.warm_up(pair, requests, spec.workload, spec.protocol.warmup_s)
        order = blocks.schedule(spec.protocol.blocks, spec.seed)
        with stages("measure"):
            blocks.measure(recorder, pair, requests, spec.workload, spec.protocol, order, progress)
        with stages("finish"):
            findings = conclude(spec, path, applied, meters, recorder, pair, quality)
    return findings.model_copy(
        update={
            "block_order": [[f"{who}:{phase}" for who, phase in block] for block in order],
            "stages_s": stages.seconds,
        }
    )


def _refuse(spec: RunSpec, stack: list[Technique], machine: Machine) -> None:
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
    path: Path,
    applied: list[AppliedTechnique],
    meters: OpenMeters,
    recorder: Recorder,
    pair: dict[Who, Any],
    quality: list[TaskScore],
) -> Findings:
    """Turn windows into numbers."""
    windows, reason = summary.valid_blocks(recorder.windows), recorder.no_energy_reason()
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
    return Findings(
        model=models.facts(spec.model, path),
        techniques=applied,
        meter=MeterChoice(
            used=[meter.name for meter in meters.meters], refused=meters.refused, notes=meters.notes
        ),
        windows=recorder.windows,
        baseline=subjects["baseline"],
        candidate=subjects["candidate"],
        ratios=ratios,
        quality=quality,
    )
