"""How steps are made and run: texts put together, activations, precision, compilation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

from greenbench.engines.engine import Engine
from greenbench.errors import Unsupported
from greenbench.machine.detect import Machine
from greenbench.schema.ranges import require, require_choice
from greenbench.schema.technique import Promise
from greenbench.techniques.recipe import Choice, Plan, Recipe

PRECISIONS = ("float32", "mixed_bfloat16", "bfloat16")


@dataclass(frozen=True)
class PackSequences(Recipe):
    """Texts stand one after another in sequences of full length, instead of each in one that is padded.

    A text may be cut, and sees the end of the one before it.
    """

    name: ClassVar[str] = "pack_sequences"
    summary: ClassVar[str] = "texts fill the sequences one after another, no padding"
    chooses: ClassVar[Choice] = "how texts are put together"

    def promise(self) -> Promise:
        """As much as there was padding."""
        return Promise(note="what was computed for padding")

    def onto(self, plan: Plan) -> Plan:
        """Packed."""
        return replace(plan, packed=True)


@dataclass(frozen=True)
class GradientCheckpointing(Recipe):
    """A block's activations are computed again in the backward pass instead of kept (arXiv 1604.06174)."""

    name: ClassVar[str] = "gradient_checkpointing"
    summary: ClassVar[str] = "activations are computed again instead of kept"
    paper: ClassVar[str | None] = "arXiv:1604.06174"
    chooses: ClassVar[Choice] = "what activations are kept"

    def promise(self) -> Promise:
        """Memory, for about a third more computing."""
        return Promise(note="memory of activations; it costs a second forward pass")

    def onto(self, plan: Plan) -> Plan:
        """transformers' own."""
        return replace(plan, checkpointing=True)


@dataclass(frozen=True)
class TrainPrecision(Recipe):
    """What the matrix products, or all of the training, are computed in."""

    name: ClassVar[str] = "train_precision"
    summary: ClassVar[str] = "trains in another precision"
    chooses: ClassVar[Choice] = "the precision"
    told: ClassVar[frozenset[str]] = frozenset({"to"})

    to: str = "bfloat16"
    """float32, mixed_bfloat16 (products alone), or bfloat16 (weights and the optimizer's state too)."""

    def __post_init__(self) -> None:
        require_choice(self.to, "technique.train_precision.to", PRECISIONS)

    def promise(self) -> Promise:
        """Where the device computes in it."""
        return Promise(note="time of matrix products where the device has instructions for it")

    def onto(self, plan: Plan) -> Plan:
        """Computed in it."""
        to = cast("Literal['float32', 'mixed_bfloat16', 'bfloat16']", self.to)
        return replace(plan, precision=to)


@dataclass(frozen=True)
class TrainBatch(Recipe):
    """Other batches than the baseline's, on the same tokens in the same order."""

    name: ClassVar[str] = "train_batch"
    summary: ClassVar[str] = "steps over more or fewer texts"
    chooses: ClassVar[Choice] = "the batch"
    told: ClassVar[frozenset[str]] = frozenset({"size"})

    size: int = 16
    """Texts of a batch."""
    accumulation: int = 1
    """Batches that a step sums over."""

    def __post_init__(self) -> None:
        require(self.size >= 1, "technique.train_batch.size", self.size, "1 or more")
        require(
            self.accumulation >= 1,
            "technique.train_batch.accumulation",
            self.accumulation,
            "1 or more",
        )

    def promise(self) -> Promise:
        """Larger ones step seldom."""
        return Promise(
            note="steps of the optimizer, where a batch is larger; memory, where smaller"
        )

    def onto(self, plan: Plan) -> Plan:
        """Of this size."""
        return replace(plan, batch_size=self.size, accumulation=self.accumulation)


@dataclass(frozen=True)
class TrainCompile(Recipe):
    """The model's forward and backward pass are compiled by torch, padded to one length."""

    name: ClassVar[str] = "train_compile"
    summary: ClassVar[str] = "forward and backward pass compiled by torch"
    chooses: ClassVar[Choice] = "how the model is run"

    def check(self, machine: Machine, engine: Engine) -> None:
        """On a GPU torch compiles by triton."""
        from importlib.util import find_spec

        if machine.device != "cpu" and find_spec("triton") is None:
            raise Unsupported("train_compile needs triton on a GPU: pip install triton.")

    def promise(self) -> Promise:
        """Compiling is part of the first stretch, and its joules are."""
        return Promise(note="launches of kernels and passes over memory; compiling is metered")

    def onto(self, plan: Plan) -> Plan:
        """Compiled."""
        return replace(plan, compiled=True)
