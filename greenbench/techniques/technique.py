"""What a technique is: one file with one class in it. There are six kinds.

A `ModelEdit` changes the model, an `EngineOption` says how an engine is to run it, a `MachineSetting`
holds something of the machine while it runs, an `AnswerSetting` says how it is asked, and a `Handover`
(`handover.py`) lets a small model answer first. A stack may mix them. A `Recipe` (`recipe.py`) says how a
model is trained, and stands beside no other kind.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from greenbench.engines.engine import Engine, Form
from greenbench.engines.tokenizer import Manner
from greenbench.errors import UserError
from greenbench.schema.knobs import changed
from greenbench.schema.spec import ModelSpec, WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.traits import Traits as Traits  # noqa: PLC0414  # techniques take it from here

if TYPE_CHECKING:
    import torch

    from greenbench.machine.detect import Machine
    from greenbench.models.packing import Packing

FAMILIES = (
    "pruning", "quantization", "distillation", "early_exit", "sparse_activation", "decoding", "runtime",
    "hardware", "training",
)  # fmt: skip
"""The folders of techniques."""


@dataclass(frozen=True)
class Preparation:
    """What a technique may use while it prepares a model."""

    device: torch.device
    tokenizer: Any
    calibration: Callable[[], Sequence[str]]
    """Training text, disjoint from all text that measures quality."""
    loop: Callable[..., Any] | None = None
    """What generates by now, called as the model's ``generate`` is; null: that itself."""
    leaves: Form = "module"
    """What the stack's result is handed over as: live, or as files, for which kernels of this process
    are of no use."""
    details: dict[str, Any] = field(default_factory=dict)
    """The technique writes here what the record should keep, such as the blocks it dropped."""
    observed: dict[str, Any] = field(default_factory=dict)
    """The prepared model adds here what it shows while it runs, such as drafts accepted."""
    seed: int = 0
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


class Edited(NamedTuple):
    """What an edit leaves."""

    model: Any
    loop: Callable[..., Any] | None = None
    """What generates from now on, called as the model's ``generate`` is; null: what did before."""
    scored_whole: bool = False
    """The forward pass depends on the cache: no beginning may be shared when scoring."""
    files: Path | None = None
    """Where it has written the model itself, in its `form`; null: whoever needs files saves the module."""


class Technique:
    """Base of the six kinds; a subclass is a frozen dataclass whose fields are its knobs."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """What it does, in a few words."""
    paper: ClassVar[str | None] = None
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages that compute it, beside those that compute every run: their versions decide what comes
    out, so that they are in a run's key."""
    told: ClassVar[frozenset[str]] = frozenset()
    """Knobs that its label shows at their defaults too."""
    family: ClassVar[str] = "other"
    """The folder that its module lies in; elsewhere than in one of `FAMILIES`, what the class says."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        package = getattr(sys.modules.get(cls.__module__), "__package__", None) or ""
        folder = package.rpartition(".")[2]
        if folder in FAMILIES:
            cls.family = folder

    def traits(self) -> Traits:
        """What others must know of it, with these knobs."""
        return Traits()

    def check(self, machine: Machine, engine: Engine) -> None:
        """Raise Unsupported, in one sentence, where `machine` or `engine` cannot run it. No model is
        loaded yet."""

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Raise UserError or Unsupported where the model (its transformers config) or workload does not
        suit the knobs. No weights are loaded yet."""

    def after(self, config: Any) -> Any:
        """The configuration of the model that it leaves, for what comes after it to check."""
        return config

    def models(self) -> Sequence[ModelSpec]:
        """Other models that it loads beside the run's."""
        return ()

    def kernels(self) -> Sequence[str]:
        """Kernels that it runs as a hub has them built, as ``kernels-community/NAME``."""
        return ()

    def exact(self) -> Self:
        """Itself, with what a name may come to mean later, as a hub's branch, said exactly; UserError where
        that cannot be had. No process has started yet."""
        return self

    def settled(self, device: str) -> Self:
        """With what null leaves to the kind of `device` (cpu, cuda) said: so it works, so records have it."""
        return self

    def disclosed(self) -> dict[str, Any]:
        """Knobs that records show otherwise than given: a path by name and hash, UserError if it is none."""
        return {}

    def versions(self) -> Mapping[str, str]:
        """Of what computes it in another environment than this one, where `packages` lie: in a run's key."""
        return {}

    def idle(self, details: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
        """Whether it did none of its work, by what it noted while it was prepared and while it ran."""
        return False

    def label(self) -> str:
        """Its name with the knobs that differ from their defaults, or are to be `told`, as tables show it.

        The first knob needs no name: ``prune_depth(0.2)``.
        """
        said = changed(self, self.told)
        if not said:
            return self.name
        first = fields(self)[0].name  # type: ignore[arg-type]
        shown = (f"{value}" if name == first else f"{name}={value}" for name, value in said.items())
        return f"{self.name}({', '.join(shown)})"


class ModelEdit(Technique, ABC):
    """Changes the model itself, or what generates with it: it needs the model's own Python code."""

    form: ClassVar[Form] = "module"
    """What its result can be handed over as; "module": to an engine in this process only."""

    def packing(self) -> Packing | None:
        """How the weights are packed that it leaves as files; null: they are not."""
        return None

    def install(self, device: torch.device) -> None:  # most need nothing
        """Bring about what the machine lacks, once for all runs, as compiled code: not metered."""

    @abstractmethod
    def promise(self, model: Any) -> Promise:
        """What it will save on `model` (not yet changed)."""

    @abstractmethod
    def edit(self, model: Any, work: Preparation) -> Edited:
        """Change `model`, in place: what generates by now holds on to it. Metered as preparation.

        A loop of its own is made from ``work.loop or model.generate``. What comes before it in the
        stack is there: the options it set, where the model stays live, and what it holds.
        """


class EngineOption(Technique, ABC):
    """Says an option of the engine: each engine spells it otherwise, and may have none."""

    def check(self, machine: Machine, engine: Engine) -> None:
        """The engine must have the option."""
        self.options(engine.name)

    @abstractmethod
    def promise(self) -> Promise:
        """What it will save."""

    @abstractmethod
    def options(self, engine: str) -> Mapping[str, object]:
        """`engine`'s own names and values; Unsupported, in one sentence, where it has none."""

    def other(self) -> Engine | None:
        """What runs the candidate in place of the run's engine; null: that one does."""
        return None

    def running(self, engine: Engine) -> Self:
        """It, where it chose an engine: with `engine`, the same one of which more is settled."""
        return self

    def spoken(self, text: str) -> str:
        """What the engine that it chose says, in this technique's own words."""
        return text


class MachineSetting(Technique, ABC):
    """Holds something of the machine while the candidate runs, and not while the baseline does."""

    @abstractmethod
    def promise(self) -> Promise:
        """What it will save."""

    def tried(self, machine: Machine) -> dict[str, Any]:
        """What the record should keep of it, after a try where only a try tells. Metered as
        preparation."""
        return {}

    @abstractmethod
    def hold(self, machine: Machine, observed: dict[str, Any]) -> AbstractContextManager[object]:
        """What must hold while the candidate runs; what shows on the way is added to `observed`."""


class AnswerSetting(Technique, ABC):
    """Says how the candidate is asked to answer in words: it shows where answers are graded."""

    @abstractmethod
    def promise(self) -> Promise:
        """What it will save."""

    @abstractmethod
    def manner(self, template: str | None) -> Manner:
        """Given the model's chat template; UserError, in one sentence, where that knows nothing of it."""


def require_answer(technique: Technique, method: str, answer: object, kind: type) -> None:
    """Raise UserError, one sentence, unless what `technique`'s `method` gave is a `kind`."""
    if not isinstance(answer, kind):
        module = sys.modules.get(type(technique).__module__)
        raise UserError(
            f"{method} of technique={technique.name} gave a {type(answer).__name__} and no "
            f"{kind.__name__}: mend it in {getattr(module, '__file__', 'its module')}."
        )


def knobs(technique: Technique) -> dict[str, Any]:
    """The technique's knobs as plain values, for the record."""
    values = ((knob.name, getattr(technique, knob.name)) for knob in fields(technique))  # type: ignore[arg-type]
    return {name: _plain(value) for name, value in values}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
