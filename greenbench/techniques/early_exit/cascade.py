"""A small model answers, and passes on to the large one what it is not sure of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from greenbench.errors import UserError
from greenbench.models import files
from greenbench.schema.enums import Source
from greenbench.schema.ranges import require
from greenbench.schema.spec import ModelSpec, WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.handover import Handover, Trust

KEY = "technique.cascade"


@dataclass(frozen=True)
class Cascade(Handover):
    """Small models for simple questions (FrugalGPT, Chen et al., 2023, arXiv 2305.05176, section 3).

    How sure the small model is, is the geometric mean of its tokens' probabilities. How sure it must be is
    found on held-back items of the run's tasks, so that with probability 1 - delta at most `risk` of all
    answers are worse than the large model's (learn then test, Angelopoulos et al., 2021, arXiv 2110.01052).
    """

    name: ClassVar[str] = "cascade"
    summary: ClassVar[str] = "a small model answers, and a large one what that is not sure of"
    paper: ClassVar[str | None] = "arXiv:2305.05176"

    risk: float = 0.05
    """Share of answers that may be worse than the large model's, where the threshold is found."""
    threshold: float | None = None
    """Confidence from which on the small model's answer is kept, 0 to 1; null: found by `risk`."""
    path: str | None = None
    """Directory of the small model, of the same vocabulary; null: what the stack before it leaves. A path is
    never recorded."""
    items: int = 100
    """Held-back items of each task, on which the threshold is found."""
    delta: float = 0.05
    """Probability that more than `risk` is lost after all."""

    def __post_init__(self) -> None:
        require(0 < self.risk < 1, f"{KEY}.risk", self.risk, "above 0 and below 1")
        require(0 < self.delta < 1, f"{KEY}.delta", self.delta, "above 0 and below 1")
        require(self.items >= 1, f"{KEY}.items", self.items, "1 or more")
        if self.threshold is not None:
            require(0 <= self.threshold <= 1, f"{KEY}.threshold", self.threshold, "0 to 1, or null")

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Both must have as many tokens."""
        if (spec := self.small()) is None:
            return
        from greenbench.engines.transformers import load  # needs torch

        theirs = load.config(spec, files.directory(spec)).get_text_config().vocab_size
        ours = config.get_text_config().vocab_size
        if theirs != ours:
            raise stranger(spec, f"{theirs} tokens where the model has {ours}")

    def promise(self) -> Promise:
        """Both are held; what is saved hangs on how many questions are simple."""
        return Promise(
            beside=True,
            note="both models are held; a question that is handed over costs what both do, one that is not "
            "what the small one does",
        )

    def small(self) -> ModelSpec | None:
        """The one at `path`."""
        if self.path is None:
            return None
        place = Path(self.path).expanduser().resolve()
        if not (place / "config.json").is_file():
            raise UserError(
                f"{KEY}.path={self.path} has no config.json: give the directory of a smaller model of the "
                "same vocabulary."
            )
        return ModelSpec(place.name, Source.local, path=str(place))

    def trust(self) -> Trust:
        """As its knobs say."""
        return Trust(self.threshold, self.risk, self.delta, self.items)

    def models(self) -> Sequence[ModelSpec]:
        """The small one."""
        return [] if (spec := self.small()) is None else [spec]

    def label(self) -> str:
        """As any technique's, with the directory's name for its path."""
        name = self.path and Path(self.path).expanduser().resolve().name
        return super(Cascade, replace(self, path=name)).label()

    def disclosed(self) -> dict[str, Any]:
        """The directory by its name and content hash."""
        spec = self.small()
        return {} if spec is None else {"path": f"{spec.name}@{files.fingerprint(spec)}"}

    def idle(self, details: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
        """The small model's word was never taken."""
        return bool(observed) and observed.get("asked") == observed.get("handed_over")


def stranger(spec: ModelSpec, what: str) -> UserError:
    """It speaks otherwise than the large model."""
    return UserError(
        f"{KEY}.path={spec.name} cannot answer before this model, as it has {what}: choose a smaller model "
        "of the same family."
    )
