"""transformers as an engine: a live module of this process, greedy, one batch after another.

What needs torch is imported when something is served, so that composing a run needs none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from greenbench.engines.engine import Ability, Build, Engine, Form, Served
from greenbench.errors import UserError
from greenbench.models import files, tensors
from greenbench.schema.enums import Dtype, Reference
from greenbench.schema.spec import ModelSpec

if TYPE_CHECKING:
    from greenbench.machine.detect import Machine

BYTES = {Dtype.float32: 4, Dtype.bfloat16: 2, Dtype.float16: 2}
"""Of a number."""


@dataclass(frozen=True)
class Transformers(Engine):
    """Runs modules, and loads checkpoints of safetensors at the model's reference dtype."""

    name: ClassVar[str] = "transformers"
    summary: ClassVar[str] = "Hugging Face transformers, in the run's own process"
    forms: ClassVar[frozenset[Form]] = frozenset({"module", "safetensors", "packed"})
    abilities: ClassVar[frozenset[Ability]] = frozenset({"logits"})

    reference: Reference = Reference.auto
    """How a model runs that no technique keeps from it: eager, one kernel after another as it comes, or
    compiled, with a static cache, decode steps of one graph, and CUDA graphs where there is CUDA."""

    def check(self, machine: Machine) -> None:
        """To compile needs a compiler."""
        if self.compiles():
            from greenbench.engines.transformers.compiled import require_compiler

            require_compiler("engine.reference=compiled", machine)

    def settled(
        self, spec: ModelSpec, machine: Machine, uncompiled: str | None, *, of_reference: bool
    ) -> Sequence[Self]:
        """``auto``: compiled on a GPU where the model can be, else eager. Against both where the techniques
        run eager: against their own kind, and against what a user could have instead."""
        if self.reference is not Reference.auto:
            return (self,)
        eager = replace(self, reference=Reference.eager)
        if of_reference or _hindered(spec, machine):
            return (eager,)
        compiled = replace(self, reference=Reference.compiled)
        return (compiled, eager) if uncompiled else (compiled,)

    def compiles(self) -> bool:
        """As its reference says."""
        return self.reference is Reference.compiled

    def obstacle(self, spec: ModelSpec) -> str | None:
        """In the model's code, or in that of what packs it."""
        from greenbench.engines.transformers.compiled import class_obstacle

        return class_obstacle(spec)

    def why_eager(self, build: Build, machine: Machine) -> str | None:
        """What keeps the techniques, the model or the device from it, or that it was asked for."""
        if self.compiles():
            return build.uncompiled
        return (
            build.uncompiled
            or _obstacle(build.model, machine)
            or "engine.reference=eager asks for it"
        )

    def version(self) -> str:
        """Of the package."""
        return metadata.version("transformers")

    def check_model(self, spec: ModelSpec, directory: Path, machine: Machine) -> None:
        """A decoder that attends, with a tokenizer, packed in no way or one that can be read."""
        from greenbench.engines.transformers.suits import require_suited

        require_suited(spec, directory, machine)

    def room_bytes(self, build: Build) -> int:
        """Its weights, at the dtype they are loaded in; what is packed may be unpacked, and take more."""
        if build.form == "module":
            from greenbench.models.weights import storage_bytes

            return sum(storage_bytes(build.source, build.loop).values())
        return tensors.held_bytes(files.weights(Path(build.source)), BYTES[build.model.dtype])

    @contextmanager
    def serve(self, build: Build, machine: Machine) -> Iterator[Served]:
        """The module of `build`, or the one that its checkpoint holds."""
        from greenbench.engines.transformers import compiled
        from greenbench.engines.transformers.load import empty_caches, load_model, load_tokenizer
        from greenbench.engines.transformers.options import apply_options
        from greenbench.engines.transformers.served import InProcess
        from greenbench.engines.transformers.suits import require_causal

        if build.start.queues:  # whatever their number: one after another
            build = replace(build, start=replace(build.start, at_once=1))
        model = build.source
        if build.form != "module":
            model = load_model(build.model, Path(build.source), machine.device_map)
            require_causal(model, build.model.name)
        apply_options(model, build.options)
        compiled.keep_cache(model, build.start)
        if self.compiles() and build.uncompiled is None:
            with build.hold():  # as it will run: code for a CPU is made for so many threads
                compiled.as_reference(model, build.start)
        served = InProcess(model, load_tokenizer(build.model, build.directory), build)
        del model, build
        try:
            yield served
        except BaseException:
            served.close()
            compiled.forget_graphs()
            with suppress(Exception):  # of a device that is lost; why it ended is the news
                empty_caches()
            raise
        served.close()
        compiled.forget_graphs()
        empty_caches()


def _hindered(spec: ModelSpec, machine: Machine) -> bool:
    """Whether the model cannot be compiled, or not be run at all, which its run then says."""
    try:
        return _obstacle(spec, machine) is not None
    except UserError:
        return True


def _obstacle(spec: ModelSpec, machine: Machine) -> str | None:
    """Why a model cannot be compiled here, or gains nothing by it; null: it can. Reads no weights."""
    if machine.device == "cpu":
        return "it runs on a CPU, where launching kernels costs little"
    if find_spec("triton") is None:
        return "triton, which compiles for a GPU, is not installed"
    if machine.device_map == "auto":
        return "it is spread over several GPUs"
    from greenbench.engines.transformers.compiled import class_obstacle  # torch

    return class_obstacle(spec)
