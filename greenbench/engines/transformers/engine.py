"""transformers as an engine: a live module of this process, greedy, one batch after another.

What needs torch is imported when something is served, so that composing a run needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from greenbench.engines.engine import Ability, Build, Engine, Form, Served
from greenbench.models import files
from greenbench.schema.enums import Dtype
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

    def version(self) -> str:
        """Of the package."""
        return metadata.version("transformers")

    def check_model(self, spec: ModelSpec, directory: Path, machine: Machine) -> None:
        """A decoder that attends, with a tokenizer, and packed in no way or one that can be read."""
        from greenbench.engines.transformers.suits import require_suited

        require_suited(spec, directory, machine)

    def room_bytes(self, build: Build) -> int:
        """Its weights, at the dtype they are loaded in."""
        if build.form == "module":
            from greenbench.models.weights import storage_bytes

            return sum(storage_bytes(build.source, build.loop).values())
        from greenbench.models import tensors

        return tensors.elements(files.weights(Path(build.source))) * BYTES[build.model.dtype]

    @contextmanager
    def serve(self, build: Build, machine: Machine) -> Iterator[Served]:
        """The module of `build`, or the one that its checkpoint holds."""
        from greenbench.engines.transformers.load import empty_caches, load_model, load_tokenizer
        from greenbench.engines.transformers.options import apply_options
        from greenbench.engines.transformers.served import InProcess
        from greenbench.engines.transformers.suits import require_causal

        model = build.source
        if build.form != "module":
            model = load_model(build.model, Path(build.source), machine.device_map)
            require_causal(model, build.model.name)
        apply_options(model, build.options)
        served = InProcess(model, load_tokenizer(build.model, build.directory), build)
        del model, build
        try:
            yield served
        except BaseException:
            served.close()
            with suppress(Exception):  # of a device that is lost; why it ended is the news
                empty_caches()
            raise
        served.close()
        empty_caches()
