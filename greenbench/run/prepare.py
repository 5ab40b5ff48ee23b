"""The candidate: the run's model with the stack of techniques applied, each metered apart."""

from __future__ import annotations

import gc
import hashlib
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from greenbench.analysis import blocks
from greenbench.engines.transformers import load
from greenbench.machine.detect import Machine
from greenbench.measure.recorder import Recorder
from greenbench.models import files, texts
from greenbench.paths import cache_dir
from greenbench.schema.spec import RunSpec
from greenbench.schema.technique import AppliedTechnique
from greenbench.techniques import Preparation, Technique, knobs

Progress = Callable[[str, int, int], None]
"""Called as (stage, done, total)."""


class Place(NamedTuple):
    """Where a candidate is made, and from what."""

    machine: Machine
    path: Path
    """The plain model's directory."""
    tokenizer: Any
    again: bool
    """Whether it will be made more than once."""


class Candidate:
    """Loads the run's model again and applies the stack to it, each technique metered apart.

    Made anew where models are measured in turn: the first time is what counts as preparation, and
    what was trained then is kept on disk until `close`.
    """

    def __init__(
        self,
        spec: RunSpec,
        stack: list[Technique],
        place: Place,
        recorder: Recorder,
        progress: Progress,
    ) -> None:
        self._spec, self._stack, self._place = spec, stack, place
        self._recorder, self._progress = recorder, progress
        self._applied: list[AppliedTechnique] = []
        self._observed: list[dict[str, Any]] = [{} for _ in stack]

    @property
    def tokenizer(self) -> Any:
        """The model's."""
        return self._place.tokenizer

    def load(self) -> Any:
        """The plain model."""
        return load.load(self._spec.model, self._place.path, self._place.machine.device_map).model

    def prepare(self, model: Any) -> Any:
        """`model` with every technique applied, in order, each amid what those before it need."""
        done = bool(self._applied)
        with ExitStack() as held:
            for index, technique in enumerate(self._stack):
                work = self._preparation(index)
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

    def close(self) -> None:
        """Nothing will be prepared again."""
        for index in range(len(self._stack)):
            shutil.rmtree(self._workspace(index), ignore_errors=True)

    def _workspace(self, index: int) -> Path:
        stack = [[type(t).__name__, knobs(t) | t.disclosed()] for t in self._stack[: index + 1]]
        identity = [files.fingerprint(self._place.path), stack, self._spec.model.dtype.value]
        key = hashlib.sha256(repr((identity, self._spec.seed)).encode()).hexdigest()[:16]
        return cache_dir() / "work" / key

    def _preparation(self, index: int) -> Preparation:
        return Preparation(
            device=self._place.machine.torch_device,
            tokenizer=self._place.tokenizer,
            calibration=lambda: texts.passages("calibrate"),
            observed=self._observed[index],
            seed=self._spec.seed,
            uuids=self._place.machine.uuids,
            workload=self._spec.workload,
            progress=partial(self._progress, "prepare"),
            energy_j=self._recorder.energy_j,
            workspace=self._workspace(index),
            again=self._place.again,
        )

    def _metered(self, technique: Technique, model: Any, work: Preparation) -> Any:
        promise = technique.promise(model)
        technique.install(work.device)
        with self._recorder.whole("prepare", "candidate"):
            model = technique.apply(model, work)
            gc.collect()  # what a technique replaced must not count as the candidate's memory
        window = self._recorder.windows[-1]
        self._applied.append(
            AppliedTechnique(
                name=technique.name,
                family=type(technique).__module__.split(".")[-2:][0],
                summary=technique.summary,
                paper=technique.paper,
                lossless=technique.lossless,
                promise=promise,
                prepare_s=window.end_s - window.start_s,
                prepare_energy=blocks.energy_of(window),
                details=work.details,
            )
        )
        return model
