"""What techniques share that llm-compressor computes: a checkpoint whose linear layers are packed."""

from __future__ import annotations

import os
import shutil
from abc import abstractmethod
from collections.abc import Iterable
from math import ceil
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import nn

from greenbench.engines.engine import Engine, Form
from greenbench.errors import Unsupported, UserError
from greenbench.models.parts import blueprint, decoder_blocks
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.shared import compressor
from greenbench.techniques.shared.linear_views import block_linears, reach
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

if TYPE_CHECKING:
    from greenbench.machine.detect import Machine

GROUPS = (128, 64, 32)
"""Inputs that may share a scale: what vLLM has kernels for."""
TILE = 32
"""Its kernels take widths that this divides."""
WORD_BYTES = 4
"""4-bit zeros are packed 8 to a word."""


class Layout(NamedTuple):
    """How a packed layer lies in the checkpoint, but for its bias."""

    bits: int
    group: int | None
    """Inputs that share a scale; null: a row's."""
    scale_bytes: int | None = None
    """Of a scale; null: as many as a plain weight's."""
    zeros: bool = False
    """Whether a group has a zero too."""
    numbers: int = 0
    """More of the layer's own, in the plain weights' dtype."""
    more_bytes: int = 0

    def bytes(self, layer: nn.Linear) -> float:
        """Of `layer`, once packed."""
        groups = layer.in_features // (self.group or layer.in_features)
        size = layer.weight.itemsize
        scales = layer.out_features * groups * (self.scale_bytes or size)
        zeros = self.zeros * ceil(layer.out_features * self.bits / 32) * WORD_BYTES * groups
        codes = layer.out_features * layer.in_features * self.bits / 8
        return codes + scales + zeros + self.numbers * size + self.more_bytes


class Compressed(ModelEdit):
    """A technique of llm-compressor: it leaves a checkpoint for vLLM, in the layout of compressed-tensors."""

    form: ClassVar[Form] = "packed"
    packages: ClassVar[tuple[str, ...]] = ("safetensors",)
    least: ClassVar[tuple[int, int]]
    """Compute capability from which vLLM has a kernel on a GPU."""
    on_cpu: ClassVar[bool] = False
    """Whether it has one on CPUs."""
    kernel: ClassVar[str]
    """What the products are, in short."""

    def traits(self) -> Traits:
        """It reads plain weights and writes what nothing can change."""
        return Traits(
            needs_plain_weights=True, packs_weights=True, holds_blocks=True, leaves_files=True
        )

    def versions(self) -> dict[str, str]:
        """Of what computes it."""
        return compressor.versions()

    def check(self, machine: Machine, engine: Engine) -> None:
        """An engine that computes with such weights on this machine, and llm-compressor."""
        if "packed" not in engine.forms or "module" in engine.forms:
            raise Unsupported(
                f"technique={self.name} leaves weights for vLLM's kernels, which engine={engine.name} does "
                "not compute with: use engine=vllm."
            )
        self._require_kernel(machine)
        compressor.require_installed(self.name)

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """The blocks' matrices must be linear layers, of widths that there are kernels for."""
        model = blueprint(config)
        kind, share = config.get_text_config().model_type, reach(model)
        if share < 1:
            raise Unsupported(
                f"technique={self.name} knows blocks whose matrices are linear layers, and other modules "
                f"hold {100 * (1 - share):.3g} % of the weights in this {kind} model's: choose another "
                "technique."
            )
        layers = block_linears(model)
        odd = {
            width
            for layer in layers
            for width in (layer.in_features, layer.out_features)
            if width % TILE
        }
        if odd:
            raise Unsupported(
                f"technique={self.name} has kernels for layers whose widths {TILE} divides, and this model "
                f"has some {min(odd)} wide: choose another technique."
            )
        self.layout(layers)

    def promise(self, model: Any) -> Promise:
        """Packed layers in place of plain ones, all else as it was."""
        layers = block_linears(model)
        layout = self.layout(layers)
        total = sum(weight.nbytes for weight in model.parameters())
        saved = sum(layer.weight.nbytes - layout.bytes(layer) for layer in layers)
        return Promise(
            bytes_ratio=1 - saved / total,
            flops_ratio=1.0,
            touched=reach(model),
            kernel=self.kernel,
            note=f"{self.said(layout)}, by llm-compressor; kernel: {self.kernel}",
        )

    @torch.no_grad()
    def edit(self, model: Any, work: Preparation) -> Edited:
        """Let llm-compressor write the checkpoint, and the module have the weights that it stands for."""
        from safetensors.torch import load_file

        layout = self.layout(block_linears(model))
        folder = Path(work.workspace or mkdtemp(prefix="greenbench-")) / self.name
        made, checkpoint, plain = folder / "made", folder / "checkpoint", folder / "plain"
        if not (made.exists() and made.read_text() == str(os.getpid())):  # else it was paid for
            self._compress(model, work, layout, folder)
            made.write_text(str(os.getpid()))
        weights = load_file(plain)
        for name, weight in model.named_parameters():
            weight.copy_(weights[name])
        if not work.again:
            plain.unlink()
        work.details.update(layout=layout._asdict(), **compressor.versions())
        return Edited(model, files=checkpoint)

    def _compress(self, model: Any, work: Preparation, layout: Layout, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed run has left
        before = folder / "before"
        model.save_pretrained(before, safe_serialization=True)
        work.tokenizer.save_pretrained(before)
        job = compressor.Job(
            model=str(before),
            recipe=self.recipe(layout, _beside_blocks(model)),
            tokens=self.texts(model, work),
            out=str(folder / "checkpoint"),
            plain=str(folder / "plain"),
            trust=type(model.config).__module__.startswith("transformers_modules"),
        )
        compressor.compress(self.name, job, folder, work.device.type, work.progress)
        shutil.rmtree(before)

    def texts(self, model: Any, work: Preparation) -> list[list[int]]:
        """Token ids to calibrate on, a list a text; none where the recipe looks at weights alone."""
        return []

    @abstractmethod
    def layout(self, layers: Iterable[nn.Linear]) -> Layout:
        """How the layers will lie. Raises UserError where the knobs do not suit them."""

    @abstractmethod
    def recipe(self, layout: Layout, ignore: list[str]) -> dict[str, Any]:
        """llm-compressor's modifiers, which leave the layers `ignore` as they are."""

    @abstractmethod
    def said(self, layout: Layout) -> str:
        """The layout in words."""

    def _require_kernel(self, machine: Machine) -> None:
        if machine.device == "cpu":
            can, needs = self.on_cpu, f"a GPU of compute capability {_number(self.least)} or newer"
        else:
            can = machine.capability is not None and machine.capability >= self.least
            needs = f"compute capability {_number(self.least)} or newer"
        if not can:
            raise Unsupported(
                f"technique={self.name} needs {needs} for vLLM's kernel, and this run is on "
                f"{machine.device_name}: choose another technique."
            )


def divisor(key: str, wanted: int | None, layers: Iterable[nn.Linear]) -> int:
    """Inputs that share a scale: `wanted`, or where that is null the most that divide all layers' inputs.

    Raises UserError where that does not suit them.
    """
    widths = {layer.in_features for layer in layers}
    for group in (wanted,) if wanted else GROUPS:
        if not any(width % group for width in widths):
            return group
    raise UserError(
        f"{key}={wanted or 'null'} suits no group of this model's linear layers, which have "
        f"{', '.join(map(str, sorted(widths)))} inputs: choose a divisor of all of them."
    )


def _beside_blocks(model: Any) -> list[str]:
    """The names of the linear layers that lie in no block, such as the output head."""
    inside = {id(layer) for layer in decoder_blocks(model).modules()}
    return [
        name
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and id(layer) not in inside
    ]


def _number(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
