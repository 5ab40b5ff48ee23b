"""What a record keeps of each technique of a run: what it promised, took and showed."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from greenbench.schema.quantity import Part, Quantity

LOSSLESS: Final = frozenset({
    "clock_lock", "draft_model", "eagle", "ngram", "power_limit", "prompt_lookup", "self_speculative",
    "speculative", "threads",
})  # fmt: skip
"""Of the techniques that come with GreenBench, those whose class says that they are lossless: who reads a
record imports none of them, and believes no other that says so."""


ADAPTERS: Final = frozenset({"lora", "qlora"})
"""Of the recipes, those after which the model serves through an adapter that is not merged."""


class Promise(Part):
    """What a technique says it saves, as ratios to the baseline; audited against what was measured."""

    bytes_ratio: float | None = None
    """Weights held."""
    flops_ratio: float | None = None
    """Multiplications for one token in the decoder's blocks."""
    active_bytes_ratio: float | None = None
    """Weights read to generate one token for one request: of a mixture, those of the experts it uses."""
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
    """Whether its output is the baseline's by construction: never said by GreenBench's own techniques but
    `LOSSLESS`, nor where the answers are worse than near ties make them."""
    promise: Promise
    touched: float | None = None
    """Share of the weights of the blocks, in matrices, that it changed: compared before and after. Null
    where its kind changes no weights, or where no plain ones were left to compare."""
    prepare_s: float
    """How long its preparation took: the length of its window of phase ``prepare``."""
    prepare_energy: Quantity
    """Joules of that window by the run's first meter."""
    details: dict[str, Any] = Field(default_factory=dict)
    """What its preparation found, such as the blocks it dropped."""
    observed: dict[str, Any] = Field(default_factory=dict)
    """What it showed while the candidate ran, such as drafts accepted."""
