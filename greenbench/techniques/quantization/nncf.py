"""Weights in 8 or 4 bits, by OpenVINO's own export tool."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from greenbench.engines.engine import Engine, Form
from greenbench.engines.openvino import environment, exported
from greenbench.errors import EngineFault, Unsupported, UserError
from greenbench.models.parts import blueprint
from greenbench.schema.ranges import require, require_choice
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.shared.compressed import GROUPS, divisor
from greenbench.techniques.shared.linear_views import block_linears, other_kinds
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

if TYPE_CHECKING:
    from greenbench.machine.detect import Machine

SCALE_BYTES = 2
"""A scale is a float16."""


@dataclass(frozen=True)
class Nncf(ModelEdit):
    """Round every matrix of the blocks to integers; the embeddings and the output head to 8 bits.

    As ``optimum-cli export openvino --weight-format`` does, by NNCF, without looking at text.
    """

    name: ClassVar[str] = "nncf"
    summary: ClassVar[str] = "weights in 8 or 4 bits by OpenVINO's export tool (NNCF)"
    packages: ClassVar[tuple[str, ...]] = ("safetensors",)
    form: ClassVar[Form] = "openvino"
    told: ClassVar[frozenset[str]] = frozenset({"bits"})

    bits: int = 8
    """Of a weight: 8, with a scale a row, or 4, with a scale a group."""
    group_size: int | None = None
    """Inputs that share a scale, at 4 bits: 128, 64 or 32; null: the most that divides all layers'."""
    symmetric: bool = False
    """Without a zero for each group or row."""
    ratio: float = 1.0
    """At 4 bits, the share of the blocks' weights that get so few; the others get 8."""

    def __post_init__(self) -> None:
        require_choice(str(self.bits), "technique.nncf.bits", ("8", "4"))
        if self.group_size is not None:
            require_choice(str(self.group_size), "technique.nncf.group_size", map(str, GROUPS))
        require(0 < self.ratio <= 1, "technique.nncf.ratio", self.ratio, "more than 0, to 1")
        if self.bits == 8 and (self.group_size is not None or self.ratio != 1):
            raise UserError(
                "technique.nncf.group_size and technique.nncf.ratio are of weights in 4 bits: say "
                "technique.nncf.bits=4, or leave them out."
            )

    def traits(self) -> Traits:
        """It reads plain weights and writes what nothing can change."""
        return Traits(
            needs_plain_weights=True, packs_weights=True, holds_blocks=True, leaves_files=True
        )

    def versions(self) -> dict[str, str]:
        """Of what computes it."""
        return environment.versions()

    def check(self, machine: Machine, engine: Engine) -> None:
        """OpenVINO must be there, and run what it leaves."""
        if "openvino" not in engine.forms:
            raise Unsupported(
                f"technique={self.name} leaves a model in OpenVINO's format, which engine={engine.name} does "
                "not take: use engine=openvino."
            )
        environment.require_installed(f"technique={self.name}")

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """The blocks' matrices must be linear layers, whose inputs groups divide."""
        if kinds := other_kinds(config):
            raise Unsupported(
                f"technique={self.name} reads back what linear layers have become, and this model multiplies "
                f"by what {', '.join(kinds)} hold: choose another technique."
            )
        self._group(block_linears(blueprint(config)))

    def promise(self, model: Any) -> Promise:
        """Codes, a scale and a zero a group or row; what is no matrix stays."""
        layers = block_linears(model)
        group = self._group(layers)
        before = sum(weight.nbytes for weight in model.parameters())
        inside = {id(layer.weight) for layer in layers}
        after = sum(
            weight.nbytes if weight.ndim < 2 else self._bytes(weight, group, id(weight) in inside)
            for weight in model.parameters()
        )
        how = f"groups of {group}" if group else "a scale a row"
        return Promise(
            bytes_ratio=after / before,
            kernel=f"int{self.bits}",
            note=f"{self.bits} bits a weight, {how}, the embeddings and the head 8; by NNCF",
        )

    @torch.no_grad()
    def edit(self, model: Any, work: Preparation) -> Edited:
        """Let the tool write the files, and the module have the weights that they stand for."""
        from safetensors.torch import load_file

        folder = Path(work.workspace or mkdtemp(prefix="greenbench-")) / self.name
        made, files, plain = folder / "made", folder / "exported", folder / "plain"
        if not (made.exists() and made.read_text() == str(os.getpid())):  # else it was paid for
            self._export(model, work, folder, files, plain)
            made.write_text(str(os.getpid()))
        weights = load_file(plain)
        _require_all(model, weights)
        for name, weight in model.named_parameters():
            if name in weights:
                weight.copy_(weights[name])
        if not work.again:
            plain.unlink()
        work.details.update(bytes=exported.held(files), **environment.versions())
        return Edited(model, files=files)

    def _export(
        self, model: Any, work: Preparation, folder: Path, files: Path, plain: Path
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed run has left
        before = folder / "before"
        model.save_pretrained(before, safe_serialization=True)
        work.tokenizer.save_pretrained(before)
        flags = self._flags(self._group(block_linears(model)))
        if type(model.config).__module__.startswith("transformers_modules"):
            flags.append("--trust-remote-code")
        job = exported.Job(str(before), flags, str(files), str(plain))
        exported.export(f"technique={self.name}: the model", job, folder, work.progress)
        shutil.rmtree(before)

    def _flags(self, group: int | None) -> list[str]:
        """Of ``optimum-cli export openvino``."""
        flags = ["--weight-format", f"int{self.bits}", *(["--sym"] if self.symmetric else [])]
        if group is None:
            return flags
        return [*flags, "--group-size", str(group), "--ratio", str(self.ratio)]

    def _group(self, layers: Iterable[nn.Linear]) -> int | None:
        """Inputs that share a scale; null: a row's. Raises UserError where that does not suit them."""
        if self.bits == 8:
            return None
        return divisor("technique.nncf.group_size", self.group_size, layers)

    def _bytes(self, weight: torch.Tensor, group: int | None, inside: bool) -> float:
        """Of a matrix, once packed."""
        eight = weight.numel() + (SCALE_BYTES + (not self.symmetric)) * weight.shape[0]
        if not inside or group is None:
            return float(eight)
        groups = weight.numel() / group
        four = weight.numel() / 2 + (SCALE_BYTES + (not self.symmetric) / 2) * groups
        return self.ratio * four + (1 - self.ratio) * eight


def _require_all(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Raise EngineFault where a matrix of the blocks is not among those that were read back."""
    inside = {id(layer.weight) for layer in block_linears(model)}
    own = {name for name, weight in model.named_parameters() if id(weight) in inside}
    if lost := sorted(own - weights.keys()):
        raise EngineFault(
            f"OpenVINO's export tool has left {len(lost)} of the blocks' {len(own)} matrices without their "
            f"names, {lost[0]} the first: choose another technique than nncf."
        )
