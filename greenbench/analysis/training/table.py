"""Runs that trained, in groups whose recipes had the same budget; none stands beside one that served."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import inf
from typing import NamedTuple

from greenbench.analysis.groups.comparable import Setting, rank, setting
from greenbench.analysis.groups.rows import is_invalid, technique
from greenbench.analysis.readings import source
from greenbench.analysis.training.curves import sound
from greenbench.analysis.verdicts import judge_sweep
from greenbench.schema.metrics import ENERGY_TO_TARGET, Metric
from greenbench.schema.quantity import Quantity, named
from greenbench.schema.record import Record
from greenbench.schema.training.record import Training
from greenbench.schema.verdict import Verdict
from greenbench.schema.window import Who


class Recipe(NamedTuple):
    """A run that trained, as its line in a table shows it."""

    record: Record
    training: Training
    label: str
    verdict: Verdict | None = None
    """On joules to the target, judged over all recipes of its budget; null in early records."""

    def ratio(self, metric: Metric) -> Quantity:
        """Candidate over baseline."""
        return named(self.record.ratios, metric.ratio, "ratio")

    def level(self, metric: Metric, who: Who = "candidate") -> Quantity:
        """One of both recipes' numbers."""
        subject = self.record.candidate if who == "candidate" else self.record.baseline
        return metric.level(subject.metrics if subject else {})

    @property
    def rests_on(self) -> float | None:
        """Share of the baseline's joules after which it first was at its last loss, the least of all seeds;
        null without joules."""
        pairs = sound(self.record.windows, self.training.courses)
        spent = [(pair.baseline.to_target_j, pair.baseline.points[-1].energy_j) for pair in pairs]
        return min(
            (part / whole for part, whole in spent if part is not None and whole), default=None
        )

    def end_of_rates(self, who: Who) -> str | None:
        """That the learning rate which was taken is at an end of those tried, in words; null: it is not."""
        taken = self.training.facts[who].learning_rate
        tried = {each.learning_rate for each in self.training.trials if each.who == who}
        if taken not in {min(tried, default=0.0), max(tried, default=0.0)}:
            return None
        if len(tried) == 1:
            return f"the {who}'s is the only one that was tried"
        end = "largest" if taken == max(tried) else "smallest"
        return f"the {who}'s is the {end} of {len(tried)} that were tried: what is beyond it, nobody knows"

    @property
    def flagged(self) -> bool:
        """Whether something disturbed the run, though not enough to leave it out."""
        return self.record.validity == "flagged"


class Budget(NamedTuple):
    """Recipes that had the same model, device, meter and budget, the least joules to the target first."""

    setting: Setting
    recipes: list[Recipe]


def by_budget(records: Iterable[Record]) -> list[Budget]:
    """Completed and not invalid `records` of models that were trained."""
    found = [
        (setting_of(record), Recipe(record, record.training, technique(record)))
        for record in records
        if record.status == "completed" and record.training is not None and not is_invalid(record)
    ]
    found.sort(key=lambda pair: (rank(pair[0]), *_place(pair[1])))
    return [
        Budget(key, _judged([recipe for _, recipe in pairs]))
        for key, pairs in groupby(found, key=lambda pair: pair[0])
    ]


def of_place(budgets: Sequence[Budget], *, model: str = "", device: str = "") -> list[Budget]:
    """Those whose model and device hold the names."""
    return [
        budget
        for budget in budgets
        if model.lower() in budget.setting.model.lower()
        and device.lower() in budget.setting.device.lower()
    ]


def _judged(recipes: Sequence[Recipe]) -> list[Recipe]:
    """With the verdicts of their records judged anew: Holm, over all of them."""
    own = [recipe.record.verdicts.get(ENERGY_TO_TARGET.ratio) for recipe in recipes]
    anew = iter(judge_sweep([verdict for verdict in own if verdict]))
    return [
        recipe._replace(verdict=next(anew) if verdict else None)
        for recipe, verdict in zip(recipes, own, strict=True)
    ]


def _place(recipe: Recipe) -> tuple[float, float, str, str]:
    """By the ratio; then what never got there by its bound; then what has none."""
    ratio = recipe.ratio(ENERGY_TO_TARGET)
    least = inf if ratio.low is None else ratio.low
    known = inf if ratio.value is None else ratio.value
    return known, least, recipe.label, recipe.record.key


def setting_of(record: Record) -> Setting:
    """What a run that trained shares with those that it may be compared with."""
    windows = [window for window in record.windows if window.phase == "train"]
    boundary = next((window.energy[0].boundary for window in windows if window.energy), "")
    return setting(record)._replace(source=source(windows), boundary=boundary, tasks="")
