"""What a record keeps of each technique of a run: what it promised, took and showed."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from greenbench.schema.quantity import Part, Quantity


class Promise(Part):
    """What a technique says it saves, as ratios to the baseline; audited against what was measured."""

    bytes_ratio: float | None = None
    """Weights held."""
    flops_ratio: float | None = None
    """Multiplications for one token in the decoder's blocks."""
    layers_ratio: float | None = None
    """Blocks of the decoder."""
    touched: float | None = None
    """Share of the blocks' weights that it is to change; null where its kind changes none or chooses."""
    sparsity: float | None = None
    """Share of the blocks' weights that is zero."""
    drafts: int | None = None
    """Tokens drafted for each pass of the whole model."""
    beside: bool = False
    """The plain model is held and asked too, so that what the stack before it promises holds of a part."""
    kernel: str | None = None
    """What computes with the changed weights: ``dense`` and ``dequantize`` save bytes at most."""
    note: str
    """In words."""


class AppliedTechnique(Part):
    """One technique of the run's stack, as applied."""

    name: str
    """The option's."""
    family: str
    """The folder of its code, such as ``pruning``; a plug-in's says it itself."""
    summary: str
    """What it does, in a few words."""
    paper: str | None
    """Where it was published, or null."""
    lossless: bool
    """Whether its output is the baseline's by construction."""
    promise: Promise
    touched: float | None = None
    """Share of the weights of the blocks, in matrices, that it changed: compared before and after. Null
    where its kind changes no weights, or where no plain ones were left to compare."""
    prepare_s: float
    """How long its preparation took."""
    prepare_energy: Quantity
    """Joules of its preparation by the run's first meter."""
    details: dict[str, Any] = Field(default_factory=dict)
    """What its preparation found, such as the blocks it dropped."""
    observed: dict[str, Any] = Field(default_factory=dict)
    """What it showed while the candidate ran, such as drafts accepted."""
