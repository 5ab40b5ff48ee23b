"""Quantized checkpoints as they are deployed with vLLM today, by llm-compressor's own recipes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from torch import nn

from greenbench.models.parts import positions
from greenbench.schema.ranges import require, require_choice
from greenbench.techniques.shared.compressed import GROUPS, Compressed, Layout, divisor
from greenbench.techniques.shared.layerwise import require_calibration, text_size, token_batches
from greenbench.techniques.technique import Preparation

SHAPE_BYTES = 16
"""Two 64-bit integers beside a layer's 4-bit codes: its shape."""


@dataclass(frozen=True)
class _Calibrated(Compressed):
    """Looks at the activations of real text."""

    passages: int | None = None
    """Calibration passages; null: 128 on a GPU, 32 on a CPU."""
    tokens: int | None = None
    """Tokens used of each, as far as the model reads; null: 2048 on a GPU, 256 on a CPU."""

    def __post_init__(self) -> None:
        require_calibration(self.name, self.passages, self.tokens)

    def settled(self, device: str) -> Self:
        """With as much text as is a matter of minutes on the device."""
        passages, tokens = text_size(self.passages, self.tokens, device)
        return replace(self, passages=passages, tokens=tokens)

    def texts(self, model: Any, work: Preparation) -> list[list[int]]:
        """As many as the knobs say."""
        passages, tokens = text_size(self.passages, self.tokens, work.device.type)
        most = min(tokens, positions(model.config) or tokens)
        batches = token_batches(work, passages, most)
        work.details["calibration"] = {
            "passages": len(batches),
            "tokens": sum(batch.numel() for batch in batches),
        }
        return [batch[0].tolist() for batch in batches]


@dataclass(frozen=True)
class _W4a16(_Calibrated):
    """Weights in 4 bits, in groups; products in 16."""

    least: ClassVar[tuple[int, int]] = (8, 0)
    on_cpu: ClassVar[bool] = True
    kernel: ClassVar[str] = "w4a16"

    group_size: int | None = None
    """Inputs that share a scale: 128, 64 or 32; null: the most of these that divides all layers' inputs."""
    symmetric: bool = True
    """Without a zero for each group."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group_size is not None:
            key = f"technique.{self.name}.group_size"
            require_choice(str(self.group_size), key, map(str, GROUPS))

    def layout(self, layers: Iterable[nn.Linear]) -> Layout:
        """Codes, and a scale a group."""
        group = divisor(f"technique.{self.name}.group_size", self.group_size, layers)
        return Layout(4, group, zeros=not self.symmetric, more_bytes=SHAPE_BYTES)

    def said(self, layout: Layout) -> str:
        """Bits and groups."""
        return f"{layout.bits} bits a weight, groups of {layout.group}"

    def scheme(self, layout: Layout) -> dict[str, Any]:
        """As compressed-tensors names it."""
        weights = {
            "num_bits": 4,
            "type": "int",
            "strategy": "group",
            "group_size": layout.group,
            "symmetric": self.symmetric,
        }
        return {"blocks": {"targets": ["Linear"], "weights": weights}}


@dataclass(frozen=True)
class Awq(_W4a16):
    """Scale up the weights that activations use most, as much as serves best, then round to nearest."""

    name: ClassVar[str] = "awq"
    summary: ClassVar[str] = "4-bit weights, those that activations use most scaled up before (AWQ)"
    paper: ClassVar[str | None] = "arXiv:2306.00978"

    symmetric: bool = False
    tries: int = 20
    """Scales that are tried for each layer, which is what takes its time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.tries >= 1, "technique.awq.tries", self.tries, "1 or more")

    def recipe(self, layout: Layout, ignore: list[str]) -> dict[str, Any]:
        """llm-compressor's for AWQ."""
        rounding = {"config_groups": self.scheme(layout), "ignore": ignore}
        return {"AWQModifier": {"n_grid": self.tries}, "QuantizationModifier": rounding}


@dataclass(frozen=True)
class GptqW4a16(_W4a16):
    """GPTQ as llm-compressor does it: symmetric grids and columns in the order of their activations.

    What is another thing than our `gptq`: its grids, its checkpoint, and vLLM's kernels.
    """

    name: ClassVar[str] = "gptq_w4a16"
    summary: ClassVar[str] = "4-bit weights by llm-compressor's GPTQ, for vLLM"
    paper: ClassVar[str | None] = "arXiv:2210.17323"

    def recipe(self, layout: Layout, ignore: list[str]) -> dict[str, Any]:
        """llm-compressor's for GPTQ."""
        return {"GPTQModifier": {"config_groups": self.scheme(layout), "ignore": ignore}}


class _Preset(Compressed):
    """A scheme that compressed-tensors has a name for."""

    scheme: ClassVar[str]

    def recipe(self, layout: Layout, ignore: list[str]) -> dict[str, Any]:
        """Rounded to nearest."""
        return {"QuantizationModifier": self.rounding(ignore)}

    def rounding(self, ignore: list[str]) -> dict[str, Any]:
        """Arguments of the modifier that rounds."""
        return {"scheme": self.scheme, "targets": ["Linear"], "ignore": ignore}


@dataclass(frozen=True)
class W8a8Int8(_Preset, _Calibrated):
    """SmoothQuant shifts what is hard to round from activations into weights; GPTQ rounds these.

    A scale for each row of weights, and one for each token's activations as they come.
    """

    name: ClassVar[str] = "w8a8_int8"
    summary: ClassVar[str] = "8-bit integer weights and activations, smoothed before (SmoothQuant)"
    paper: ClassVar[str | None] = "arXiv:2211.10438"
    least: ClassVar[tuple[int, int]] = (7, 5)
    on_cpu: ClassVar[bool] = True
    kernel: ClassVar[str] = "int8"
    scheme: ClassVar[str] = "W8A8"

    smoothing: float = 0.8
    """How much of the difficulty moves to the weights; 0: no SmoothQuant."""
    gptq: bool = True
    """Round by GPTQ, as llm-compressor recommends; else to nearest, which takes a fraction of the time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        key = "technique.w8a8_int8.smoothing"
        require(0 <= self.smoothing <= 1, key, self.smoothing, "0 to 1")

    def layout(self, layers: Iterable[nn.Linear]) -> Layout:
        """A scale a row."""
        return Layout(8, None)

    def recipe(self, layout: Layout, ignore: list[str]) -> dict[str, Any]:
        """llm-compressor's for INT8."""
        smooth = {"SmoothQuantModifier": {"smoothing_strength": self.smoothing}}
        modifier = "GPTQModifier" if self.gptq else "QuantizationModifier"
        return (smooth if self.smoothing else {}) | {modifier: self.rounding(ignore)}

    def said(self, layout: Layout) -> str:
        """Of both sides of the product."""
        return "8 bits a weight and an activation, integers"


@dataclass(frozen=True)
class W8a8Fp8(_Preset):
    """E4M3 numbers, with a scale for each row of weights and one for each token's activations as they come.

    On a CPU vLLM has a kernel only for AMX-FP8: without, PyTorch's own product is thousands of times slower.
    """

    name: ClassVar[str] = "w8a8_fp8"
    summary: ClassVar[str] = "8-bit floating-point weights and activations, scaled as they come"
    paper: ClassVar[str | None] = "arXiv:2209.05433"
    least: ClassVar[tuple[int, int]] = (8, 9)
    kernel: ClassVar[str] = "fp8"
    scheme: ClassVar[str] = "FP8_DYNAMIC"

    def layout(self, layers: Iterable[nn.Linear]) -> Layout:
        """A scale a row."""
        return Layout(8, None)

    def said(self, layout: Layout) -> str:
        """Of both sides of the product."""
        return "8 bits a weight and an activation, floating point"


@dataclass(frozen=True)
class Nvfp4(_Preset, _Calibrated):
    """E2M1 numbers in blocks of 16 with an E4M3 scale each, and one for the whole matrix."""

    name: ClassVar[str] = "nvfp4"
    summary: ClassVar[str] = "4-bit floating-point weights and activations, in blocks of 16 (NVFP4)"
    paper: ClassVar[str | None] = "arXiv:2509.25149"
    least: ClassVar[tuple[int, int]] = (10, 0)
    kernel: ClassVar[str] = "nvfp4"
    scheme: ClassVar[str] = "NVFP4"

    def layout(self, layers: Iterable[nn.Linear]) -> Layout:
        """A byte a block, and the scales of the weights and of the activations."""
        return Layout(4, 16, scale_bytes=1, numbers=2)

    def said(self, layout: Layout) -> str:
        """Of both sides of the product."""
        return "4 bits a weight and an activation, blocks of 16"


@dataclass(frozen=True)
class Mxfp4(_Preset):
    """E2M1 numbers in blocks of 32 with a power of two each (Open Compute Project's MX, arXiv 2310.10537)."""

    name: ClassVar[str] = "mxfp4"
    summary: ClassVar[str] = "4-bit floating-point weights and activations, in blocks of 32 (MXFP4)"
    paper: ClassVar[str | None] = "arXiv:2310.10537"
    least: ClassVar[tuple[int, int]] = (10, 0)
    kernel: ClassVar[str] = "mxfp4"
    scheme: ClassVar[str] = "MXFP4"

    def layout(self, layers: Iterable[nn.Linear]) -> Layout:
        """A byte a block."""
        return Layout(4, 32, scale_bytes=1)

    def said(self, layout: Layout) -> str:
        """Of both sides of the product."""
        return "4 bits a weight and an activation, blocks of 32"
