"""What a technique is. A technique is one file with this class in it, and one YAML with its knobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import torch

from greenbench.machine.detect import Machine
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise


@dataclass(frozen=True)
class Preparation:
    """What a technique may use while it prepares a model."""

    device: torch.device
    tokenizer: Any
    calibration: Callable[[], Sequence[str]]
    """Training text, disjoint from all text that measures quality."""
    details: dict[str, Any] = field(default_factory=dict)
    """The technique writes here what the record should keep, such as the blocks it dropped."""
    observed: dict[str, Any] = field(default_factory=dict)
    """The prepared model adds here what it shows while it runs, such as drafts accepted."""
    seed: int = 0
    uuids: tuple[str, ...] = ()
    """The run's GPUs as NVML spells them; none on a CPU."""
    workload: WorkloadSpec = field(default_factory=lambda: WorkloadSpec("default"))
    """The requests that the prepared model will serve, for what is made to their shape."""
    progress: Callable[[int, int], None] = lambda done, total: None
    """Long preparations say how far they are: steps done, and their total."""
    energy_j: Callable[[], float | None] = lambda: None
    """Joules of the first meter so far, to keep to a budget; null without a meter."""
    workspace: Path | None = None
    """Where a preparation may keep what it needs to go on after its process was killed. The same
    model, technique, seed and place in the stack find the same folder again."""
    again: bool = False
    """Whether this run will prepare the same model anew, so that a training keeps its result in
    the workspace. Whoever runs it removes the workspace then."""


class Technique(ABC):
    """Base of all techniques; a subclass is a frozen dataclass whose fields are its knobs."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """What it does, in a few words."""
    paper: ClassVar[str | None] = None
    lossless: ClassVar[bool] = False
    """True only where the output is identical to the baseline's by construction."""
    needs_plain_weights: ClassVar[bool] = False
    """It reads or casts floating-point weights, so nothing before it may have packed them."""
    changes_blocks: ClassVar[bool] = False
    """It drops or replaces the model's blocks."""
    holds_blocks: ClassVar[bool] = False
    """It keeps to the blocks and weights that it found, which may not change after it."""
    packs_weights: ClassVar[bool] = False
    """It leaves integer weights behind."""
    drafts_tokens: ClassVar[bool] = False
    """It drafts tokens for the whole model to check; a stack has room for one that does."""
    adds_exits: ClassVar[bool] = False
    """It changes what the blocks do so that a token may leave them; a stack has room for one."""
    chooses_cache: ClassVar[bool] = False
    """It chooses the key-value cache; a stack has room for one, and drafts need the usual one."""
    traces: ClassVar[bool] = False
    """It traces the model's forward pass ..."""
    traceable: ClassVar[bool] = True
    """... which what this one leaves allows."""
    dynamic: ClassVar[bool] = False
    """Its work depends on the input, so it is measured by difficulty too. Whole numbers that it adds
    to what it has `observed` are counts, which only grow."""

    def check(self, machine: Machine) -> None:  # noqa: B027  # most techniques run anywhere
        """Raise Unsupported, in one sentence, where `machine` cannot run it. No model is loaded yet."""

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:  # noqa: B027
        """Raise UserError or Unsupported where the model (its transformers config) or workload does
        not suit the knobs. No weights are loaded yet."""

    def after(self, config: Any) -> Any:
        """The configuration of the model that it leaves, for what comes after it to check."""
        return config

    @abstractmethod
    def promise(self, model: Any) -> Promise:
        """What it will save on `model` (not yet changed)."""

    def install(self, device: torch.device) -> None:  # noqa: B027  # most need nothing
        """Bring about what the machine lacks, once for all runs, as compiled code: not metered."""

    @abstractmethod
    def apply(self, model: Any, preparation: Preparation) -> Any:
        """Change `model`, in place or not, and return it. Metered as preparation.

        What acts around generation replaces ``model.generate``, for example by a `partial` of it.
        """

    def during(self, model: Any) -> AbstractContextManager[object]:
        """What must hold while the prepared model runs, and not while the baseline does."""
        return nullcontext()

    def disclosed(self) -> dict[str, Any]:
        """Knobs that records show otherwise than they are given: a local path by name and hash.

        Raises UserError where such a path leads nowhere. No process has started yet.
        """
        return {}

    def label(self) -> str:
        """Its name with the knobs that differ from their defaults, as tables show it.

        The first knob needs no name: ``prune_depth(0.2)``.
        """
        changed = {
            knob.name: str(getattr(value, "value", value))
            for knob in fields(self)  # type: ignore[arg-type]
            if (value := getattr(self, knob.name)) != _default(knob)
        }
        if not changed:
            return self.name
        first = fields(self)[0].name  # type: ignore[arg-type]
        shown = (value if name == first else f"{name}={value}" for name, value in changed.items())
        return f"{self.name}({', '.join(shown)})"


def _default(knob: Field[Any]) -> Any:
    """The knob's default, or MISSING, which nothing equals."""
    return knob.default if knob.default_factory is MISSING else knob.default_factory()


def knobs(technique: Technique) -> dict[str, Any]:
    """The technique's knobs as plain values, for the record."""
    values = ((knob.name, getattr(technique, knob.name)) for knob in fields(technique))  # type: ignore[arg-type]
    return {name: _plain(value) for name, value in values}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
