"""The candidate: the run's model with the stack of techniques applied, each metered apart."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from greenbench.analysis import blocks
from greenbench.engines.engine import Build
from greenbench.engines.transformers.load import (
    empty_caches,
    load_model,
    load_tokenizer,
    save,
    seed,
    shell,
)
from greenbench.engines.transformers.options import apply_options
from greenbench.engines.transformers.served import HubTokenizer, OnDevice
from greenbench.measure.recorder import Recorder
from greenbench.measure.schedule import Progress
from greenbench.models import texts
from greenbench.run import reach
from greenbench.run.cascade import handed_over
from greenbench.run.checkpoint import keep
from greenbench.run.probe import expectation
from greenbench.run.replaced import promised, replaced, told
from greenbench.run.workbench import Place
from greenbench.run.workspace import as_made, kept, workspace
from greenbench.schema.enums import Dtype
from greenbench.schema.spec import RunSpec
from greenbench.schema.technique import AppliedTechnique, Promise
from greenbench.techniques import (
    AnswerSetting,
    Edited,
    EngineOption,
    Handover,
    MachineSetting,
    ModelEdit,
    Preparation,
    Replacement,
    Technique,
)
from greenbench.techniques.stack import form_of, uncompiled
from greenbench.techniques.technique import require_answer


class Candidate:
    """Applies the stack to the run's model, each technique metered apart.

    Edits run on one live module, options of the engine merge in order, settings of the machine nest
    in order. Made anew where models are measured in turn: the first time is what counts as
    preparation, and what takes long is kept on disk then until `close`.
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
        self._leaves = form_of(stack)
        edits = [index for index, each in enumerate(stack) if isinstance(each, ModelEdit)]
        self._last = edits[-1] if edits else None
        self._files: Build | None = None
        self._made: Build | None = None
        self._threshold: float | None = None

    def build(self) -> Build:
        """The model with every technique applied, in order, each amid what those before it hold."""
        again, machine = bool(self._applied), self._place.machine
        bar = uncompiled(self._stack, machine, self._spec)
        build = replace(self._place.base, uncompiled=bar)
        with ExitStack() as held:
            for index, technique in enumerate(self._stack):
                work = self._preparation(index, build)
                metered = nullcontext if again else partial(self._metered, technique, work)
                build = self._with(technique, build, work, index, metered)
                if isinstance(technique, MachineSetting):
                    held.enter_context(technique.hold(machine, work.observed))
        empty_caches()
        return build

    def applied(self) -> list[AppliedTechnique]:
        """The techniques as applied, with what each has shown while the candidate ran."""
        return [
            done.model_copy(update={"observed": dict(seen)})
            for done, seen in zip(self._applied, self._observed, strict=True)
        ]

    def counted(self) -> dict[str, dict[str, Any]]:
        """What the techniques whose work depends on the input have shown so far, by their name."""
        pairs = zip(self._stack, self._observed, strict=True)
        return {each.name: deepcopy(seen) for each, seen in pairs if each.traits().dynamic}

    def idle(self) -> bool:
        """Whether a technique did none of its work."""
        return any(map(_idle, self._stack, self.applied()))

    def recipe(self) -> str | None:
        """Names all that its files are made of; null for a stack that edits nothing."""
        return None if self._last is None else self._workspace(self._last).name

    def close(self) -> None:
        """Nothing will be prepared again; its files are kept, as far as there is room."""
        if (recipe := self.recipe()) and self._files is not None:
            keep(recipe, self._place.engine.files(self._files))
        for index in range(len(self._stack)):
            shutil.rmtree(self._workspace(index), ignore_errors=True)

    def _with(
        self,
        technique: Technique,
        build: Build,
        work: Preparation,
        index: int,
        metered: Callable[[Promise], AbstractContextManager[object]],
    ) -> Build:
        """`build` with one technique more."""
        match technique:
            case ModelEdit() if self._made is not None:
                return as_made(build, self._made) if index == self._last else build
            case ModelEdit():
                build = replace(build, form="module", source=self._module(build))
                changed = reach.before(build.source)
                with reach.shown(technique, build.source):
                    promise = self._promise(technique, build)
                    technique.install(work.device)
                    with metered(promise):
                        build, files = self._edited(technique, build, work, index)
                        empty_caches()  # what was replaced must not count as the candidate's memory
                model = build.source
                self._note_touched(index, changed(model), model.config)
                if files is not None:
                    build = self._handed_over(build, files)
                if self._place.again and index == self._last:
                    self._made = kept(build, self._stack, self._workspace(index))
            case Replacement():
                with metered(promised(technique, self._place)):
                    build = replaced(technique, build, self._place)
                    work.details.update(told(build))
            case EngineOption():
                with metered(technique.promise()):
                    added = technique.options(self._place.engine.name)
                    if "module" in self._place.engine.forms:
                        # what is prepared next meets it as it will run
                        work.details["before"] = apply_options(self._shown(build), added)
                    build = replace(build, options={**build.options, **added})
            case AnswerSetting():
                with metered(technique.promise()):
                    template = HubTokenizer(work.tokenizer).template
                    build = replace(build, manner=technique.manner(template))
            case Handover():
                with metered(technique.promise()):
                    known = self._threshold
                    build = handed_over(technique, build, self._place, self._spec, work, known)
                    self._threshold = build.behind and build.behind.rule.threshold
            case MachineSetting():
                with metered(technique.promise()):
                    work.details.update(technique.tried(self._place.machine))
                    hold = partial(technique.hold, self._place.machine, work.observed)
                    build = replace(build, hold=partial(_nested, build.hold, hold))
        return build

    def _note_touched(self, index: int, share: float | None, config: Any) -> None:
        """Keep the share of the weights that a technique changed; refuse it where that is too little."""
        allow = self._spec.allow_partial
        reach.require(self._stack[index], share, config, allow_partial=allow)
        self._applied[index] = self._applied[index].model_copy(update={"touched": share})

    def _module(self, build: Build) -> Any:
        """The live module to edit: loaded once, at the model's reference dtype."""
        if build.form == "module":
            return build.source
        seed(self._spec.seed)
        model = load_model(build.model, Path(build.source), self._place.machine.device_map)
        if "module" in self._place.engine.forms:  # else the options are another engine's
            apply_options(model, build.options)
        return model

    def _shown(self, build: Build) -> Any:
        """The live module, or one without weights that has what it will have when it is loaded."""
        if build.form == "module":
            return build.source
        model = shell(build.model, Path(build.source))
        apply_options(model, build.options)
        return model

    def _edited(
        self, technique: ModelEdit, build: Build, work: Preparation, index: int
    ) -> tuple[Build, Path | None]:
        """The build, and the files of it; null where none are asked for, or not yet."""
        edited = technique.edit(build.source, work)
        require_answer(technique, "edit", edited, Edited)
        own = edited.loop and not technique.traits().of_reference
        looped = f"{technique.name} decodes by a loop of its own" if own else None
        build = replace(
            build,
            uncompiled=build.uncompiled or looped,  # whatever its traits say
            source=edited.model,
            loop=edited.loop or build.loop,
            scored_whole=build.scored_whole or edited.scored_whole,
        )
        if self._place.live or index != self._last:
            return build, None
        return build, edited.files or self._saved(build, index)

    def _promise(self, technique: ModelEdit, build: Build) -> Promise:
        """The technique's, which knows the kernels of this process alone."""
        said = reach.promise(technique, build.source)
        return said if self._place.live else said.model_copy(update={"kernel": None})

    def _saved(self, build: Build, index: int) -> Path:
        """The checkpoint of the edited model."""
        files = self._workspace(index) / "checkpoint"
        save(build.source, build.directory, files)
        return files

    def _handed_over(self, build: Build, files: Path) -> Build:
        """`build` as files, for an engine that takes those."""
        engine, machine = self._place.engine, self._place.machine
        expected = None if self._place.files else expectation(build, engine, machine)
        held = replace(build.model, dtype=Dtype(str(build.source.dtype).removeprefix("torch.")))
        self._files = replace(build, form=self._leaves, source=files, model=held, expected=expected)
        return self._files

    def _workspace(self, index: int) -> Path:
        """Where the stack up to `index` keeps what it makes."""
        return workspace(self._stack[: index + 1], self._spec, self._place)

    def _preparation(self, index: int, build: Build) -> Preparation:
        return Preparation(
            device=self._place.machine.torch_device,
            tokenizer=load_tokenizer(build.model, build.directory),
            calibration=lambda: texts.passages("calibrate"),
            observed=self._observed[index],
            seed=self._spec.seed,
            workload=self._spec.workload,
            progress=partial(self._progress, "prepare"),
            energy_j=self._recorder.energy_j,
            workspace=self._workspace(index),
            again=self._place.again,
            loop=build.loop,
            leaves="module" if self._place.live else self._leaves,
        )

    @contextmanager
    def _metered(self, technique: Technique, work: Preparation, promise: Promise) -> Iterator[None]:
        """One window, and what the record keeps of `technique`."""
        device = OnDevice(work.device)
        with self._recorder.whole("prepare", "candidate", device):
            yield
        window = self._recorder.windows[-1]
        self._applied.append(
            AppliedTechnique(
                name=technique.name,
                family=technique.family,
                summary=technique.summary,
                paper=technique.paper,
                lossless=technique.traits().lossless,
                promise=promise,
                prepare_s=window.end_s - window.start_s,
                prepare_energy=blocks.energy_of(window),
                details=work.details,
            )
        )


def _idle(technique: Technique, done: AppliedTechnique) -> bool:
    """By its own word, or as the weights are what they were, unless its work is to skip some of them."""
    traits = technique.traits()
    changes = (traits.needs_plain_weights or traits.changes_blocks) and not traits.dynamic
    unchanged = done.touched == 0 and changes
    return unchanged or technique.idle(done.details, done.observed)


@contextmanager
def _nested(
    outer: Callable[[], AbstractContextManager[object]],
    inner: Callable[[], AbstractContextManager[object]],
) -> Iterator[None]:
    with outer(), inner():
        yield
