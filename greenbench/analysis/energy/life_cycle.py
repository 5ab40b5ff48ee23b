"""Joules of a model's life: what was done once, and what its user's tokens take after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from greenbench.analysis.energy.per_request import OFF
from greenbench.analysis.energy.promises import break_even, prepare_energy
from greenbench.analysis.groups.comparable import Setting, told_apart
from greenbench.analysis.groups.rows import Group, Row
from greenbench.analysis.training.table import Budget, Recipe
from greenbench.schema.metrics import ENERGY_PER_TOKEN, ENERGY_TO_TARGET
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.technique import ADAPTERS
from greenbench.schema.window import Who

PLAIN: Final = "the plain model"
BASELINE: Final = "full fine-tuning, AdamW"
ADAPTED: Final = (
    "an adapter that is not merged serves otherwise than the plain model, and was not served"
)
NOTHING: Final = Quantity(
    value=0.0, unit="J", provenance="assumed", low=0.0, high=0.0, reason="nothing is done once"
)
Kind = Literal["plain", "prepared", "trained"]


class Life(NamedTuple):
    """One way to come to a model that serves."""

    label: str
    kind: Kind
    once: Quantity
    """Joules before the first token: of the preparation, or of tuning and of a training to the target."""
    each: Quantity
    """Joules per token served, all of them."""
    paid_back: Quantity
    """Tokens until what it saves against the plain model has paid for what was done once."""

    @property
    def outweighs(self) -> Quantity:
        """Tokens from which serving has taken more than what was done once."""
        once, each = self.once.value, self.each.value
        if once is None or each is None:
            return missing("token", self._unknown)
        if not once:
            return missing("token", "nothing is done once")
        ends = (None, None) if self.each.bounds is None else self.each.bounds
        low, high = (None if end is None or end <= 0 else once / end for end in reversed(ends))
        whole = low is not None and high is not None
        return self.each.model_copy(
            update={
                "value": once / each,
                "unit": "token",
                "low": low if whole else None,
                "high": high if whole else None,
                "reason": None if whole else (self.each.reason or "no interval"),
            }
        )

    def total(self, tokens: float) -> Quantity:
        """Joules of all of it, once so many tokens are served. Its interval is that of serving."""
        once, each = self.once.value, self.each.value
        if once is None or each is None:
            return missing("J", self._unknown)
        ends = [
            None if end is None else once + tokens * end for end in (self.each.low, self.each.high)
        ]
        return self.each.model_copy(
            update={"value": once + tokens * each, "unit": "J", "low": ends[0], "high": ends[1]}
        )

    def served(self, tokens: float) -> float | None:
        """Share of these that serving takes; null where they are not known."""
        total = self.total(tokens).value
        return None if not total or self.each.value is None else tokens * self.each.value / total

    @property
    def _unknown(self) -> str:
        known = (part.reason for part in (self.once, self.each) if part.value is None)
        return next(filter(None, known), "joules are missing")


class Lives(NamedTuple):
    """Those of one model on one device, with joules of one meter."""

    setting: Setting
    lives: list[Life]


def life_cycles(groups: Sequence[Group], budgets: Sequence[Budget]) -> list[Lives]:
    """For each group of runs that served: prepared ones, and trainings of its model on its device."""
    found = [Lives(group.setting, list(_lives(group, budgets))) for group in groups]
    return [each for each in found if len(each.lives) > 1]


def _lives(group: Group, budgets: Sequence[Budget]) -> Iterable[Life]:
    first = next((row for row in group.rows if row.is_baseline), group.rows[0])
    plain = ENERGY_PER_TOKEN.level(first.baseline)
    yield Life(
        PLAIN, "plain", NOTHING, plain, missing("token", "it is what others are compared with")
    )
    for row in group.rows:
        if (once := prepare_energy(row)).value:
            yield Life(row.label, "prepared", once, _level(row), break_even(row, OFF))
    alike = [budget for budget in budgets if _alike(budget.setting, group.setting)]
    _, apart = told_apart([budget.setting for budget in alike]) if len(alike) > 1 else ([], [""])
    for budget, own in zip(alike, apart, strict=False):
        yield from _trained(budget, f" ({own})" if own else "", plain)


def _trained(budget: Budget, own: str, plain: Quantity) -> Iterable[Life]:
    """The baseline of the first run, then each recipe; `own` tells the budget from others."""
    why = missing("token", "a recipe changes what training takes, and nothing of serving")
    first, *_ = budget.recipes
    yield Life(f"{BASELINE}{own}", "trained", _training(first, "baseline"), plain, why)
    for recipe in budget.recipes:
        adapted = any(part.name in ADAPTERS for part in recipe.record.spec.technique)
        each = missing(plain.unit, ADAPTED) if adapted else plain
        yield Life(f"{recipe.label}{own}", "trained", _training(recipe, "candidate"), each, why)


def _level(row: Row) -> Quantity:
    return ENERGY_PER_TOKEN.level(row.metrics)


def _alike(trained: Setting, served: Setting) -> bool:
    """Whether joules of both may be added: of one model, one device, one meter."""
    return (trained.fingerprint, trained.device, trained.source, trained.boundary) == (
        served.fingerprint,
        served.device,
        served.source,
        served.boundary,
    )


def _training(recipe: Recipe, who: Who) -> Quantity:
    """Joules of tuning and of one training to the target; what never got there has no end."""
    tuning, found = recipe.training.tuning[who], recipe.level(ENERGY_TO_TARGET, who)
    if tuning.value is None or found.value is None:
        return missing("J", (found if found.value is None else tuning).reason or "not known")
    return found.model_copy(
        update={
            "value": found.value + tuning.value,
            "low": None if found.low is None else found.low + tuning.value,
            "high": None if found.high is None else found.high + tuning.value,
        }
    )


def shown(found: Sequence[Lives], tokens: float | None) -> list[Lives]:
    """Those to tell of: all where the user says how many tokens, else where something was trained."""
    return [each for each in found if tokens or any(life.kind == "trained" for life in each.lives)]
