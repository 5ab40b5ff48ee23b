"""The steps of a run that take more than a line: what `run` tells, these do."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from greenbench import models, texts
from greenbench.applied import AppliedTechnique
from greenbench.errors import UserError
from greenbench.machine import Machine
from greenbench.measure import difficulty, faults, sizes, summary
from greenbench.measure.difficulty_summary import summarise
from greenbench.measure.load import on_battery
from greenbench.measure.pair import WHO, Pair
from greenbench.measure.windows import TICKS, Recorder
from greenbench.meters import OpenMeters
from greenbench.meters.counter import validity
from greenbench.paths import cache_dir
from greenbench.quality import scorer
from greenbench.quality.prompts import prompts
from greenbench.records import (
    Findings,
    MeterChoice,
    Settling,
    Subject,
    TaskScore,
    Who,
)
from greenbench.specs import ProtocolSpec, RunSpec
from greenbench.techniques import Preparation, Technique, knobs
from greenbench.verdicts import judge_exact

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


class Candidate:
    """Loads the run's model again and applies the stack to it, each technique metered apart.

    Made anew where models are measured in turn: the first time is what counts as preparation.
    """

    def __init__(
        self,
        spec: RunSpec,
        stack: list[Technique],
        machine: Machine,
        path: Path,
        tokenizer: Any,
        recorder: Recorder,
        progress: Progress,
    ) -> None:
        self._spec, self._stack, self._machine, self._path = spec, stack, machine, path
        self._tokenizer, self._recorder, self._progress = tokenizer, recorder, progress
        self._applied: list[AppliedTechnique] = []
        self._observed: list[dict[str, Any]] = [{} for _ in stack]

    def load(self) -> Any:
        """The plain model."""
        return models.load(self._spec.model, self._path, self._machine.device_map).model

    def prepare(self, model: Any) -> Any:
        """`model` with every technique applied, in order, each amid what those before it need."""
        done = bool(self._applied)
        with ExitStack() as held:
            for place, technique in enumerate(self._stack):
                work = self._preparation(place)
                apply = technique.apply if done else partial(self._metered, technique)
                model = apply(model, work)
                held.enter_context(technique.during(model))
        gc.collect()
        return model

    def around(self, model: Any) -> ExitStack:
        """What the techniques need to hold while the prepared `model` runs."""
        with ExitStack() as stack:
            for technique in self._stack:
                stack.enter_context(technique.during(model))
            return stack.pop_all()

    def applied(self) -> list[AppliedTechnique]:
        """The techniques as applied, with what each has shown while the candidate ran."""
        return [
            done.model_copy(update={"observed": dict(seen)})
            for done, seen in zip(self._applied, self._observed, strict=True)
        ]

    def counted(self) -> dict[str, dict[str, Any]]:
        """What the techniques whose work depends on the input have shown so far, by their name."""
        pairs = zip(self._stack, self._observed, strict=True)
        return {technique.name: deepcopy(seen) for technique, seen in pairs if technique.dynamic}

    def _preparation(self, place: int) -> Preparation:
        stack = [[type(t).__name__, knobs(t) | t.disclosed()] for t in self._stack[: place + 1]]
        identity = [models.fingerprint(self._path), stack, self._spec.model.dtype.value]
        key = hashlib.sha256(repr((identity, self._spec.seed)).encode()).hexdigest()[:16]
        return Preparation(
            device=self._machine.torch_device,
            tokenizer=self._tokenizer,
            calibration=lambda: texts.passages("calibrate"),
            observed=self._observed[place],
            seed=self._spec.seed,
            uuids=self._machine.uuids,
            workload=self._spec.workload,
            progress=partial(self._progress, "prepare"),
            energy_j=self._recorder.energy_j,
            workspace=cache_dir() / "work" / key,
        )

    def _metered(self, technique: Technique, model: Any, work: Preparation) -> Any:
        promise = technique.promise(model)
        with self._recorder.whole("prepare", "candidate"):
            model = technique.apply(model, work)
            gc.collect()  # what a technique replaced must not count as the candidate's memory
        window = self._recorder.windows[-1]
        self._applied.append(
            AppliedTechnique(
                name=technique.name,
                summary=technique.summary,
                paper=technique.paper,
                lossless=technique.lossless,
                promise=promise,
                prepare_s=window.end_s - window.start_s,
                prepare_energy=summary.energy_of(window),
                details=work.details,
            )
        )
        return model


def score(
    pair: Pair, tokenizer: Any, spec: RunSpec, recorder: Recorder, progress: Progress
) -> list[TaskScore]:
    """Both models' answers to the same items, compared."""
    answers = {}
    for position, who in enumerate(WHO):
        with pair.use(who) as model, recorder.whole("score", who):
            answers[who] = scorer.answers(
                model,
                tokenizer,
                spec.task,
                lambda done, total, position=position: progress(  # type: ignore[misc]
                    "score", position * total + done, 2 * total
                ),
            )
    return scorer.compare(answers["baseline"], answers["candidate"])


def ask(
    pair: Pair,
    candidate: Candidate,
    tokenizer: Any,
    spec: RunSpec,
    quality: list[TaskScore],
    recorder: Recorder,
    apart: str | None,
    progress: Progress,
) -> difficulty.Asked | None:
    """Both models' answers to easy and hard questions; null for a stack that treats them alike.

    `apart` is why the models are measured in turn, if they are.
    """
    if not candidate.counted():
        return None
    if apart:
        return difficulty.Asked(f"the two models cannot take turns round by round: {apart}")
    return difficulty.ask(
        recorder,
        pair,
        quality,
        prompts(tokenizer, spec.task),
        spec.protocol,
        spec.seed,
        candidate.counted,
        partial(progress, "difficulty"),
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
