"""Recipes by joules to the baseline's last loss: for the leaderboard and the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from greenbench.analysis.groups.rows import FLAGGED
from greenbench.analysis.training.table import Budget, Recipe
from greenbench.report.figures.style import Sketch
from greenbench.report.markdown.format import Column, Notes, code, only, prose, show, table
from greenbench.report.markdown.lines import Line
from greenbench.report.markdown.sections.verdicts import NO_VERDICT, word
from greenbench.schema.metrics import (
    DEVICE_PEAK_BYTES,
    ENERGY_PER_TRAINING_TOKEN,
    ENERGY_TO_TARGET,
    FINAL_LOSS,
    HOST_PEAK_BYTES,
    Metric,
)
from greenbench.schema.quantity import Quantity
from greenbench.schema.window import WHO
from greenbench.wording import ESTIMATE, TIMES, number

HOW: Final = (
    "Each recipe against full fine-tuning with AdamW from the same checkpoint, on the same text in the same "
    "order, with each seed. Joules to the target are those until the loss on held-out text is as low as the "
    "baseline's last with the same seed, in a straight line between evaluations; loading, what a recipe "
    "makes of the model before its first step (adapters, packed weights), evaluating and the tuning of "
    "learning rates are not among them. A recipe that does not get there with every seed has a lower bound "
    "alone: the lower end of the interval, as if it had come there at its end. The loss is that after the "
    "baseline's tokens, of both. Peaks are of the whole process, or of torch on the device. Verdicts are by "
    "the rules of those on serving, with seeds as blocks; not reached: with some seed it did not get there."
)
GIB: Final = 2**30
HALF: Final = 0.5
"""Of the baseline's joules: what rests on less is said."""


def columns() -> list[Column[Recipe]]:
    """Of the table of recipes."""
    return [
        Column("recipe", lambda r, _: f"{code(r.label)}{f' {FLAGGED}' if r.flagged else ''}"),
        Column("J to target / baseline's", _ratio),
        Column("verdict", _verdict),
        Column("J to target", lambda r, why: at_least(r.level(ENERGY_TO_TARGET), why)),
        Column("reached", lambda r, _: f"{r.training.reached['candidate']} of {r.training.seeds} seeds"),
        Column("J/training token", lambda r, why: show(r.level(ENERGY_PER_TRAINING_TOKEN), why)),
        Column("/ baseline's", lambda r, why: show(r.ratio(ENERGY_PER_TRAINING_TOKEN), why, suffix=TIMES)),
        Column("peak GiB (baseline's)", _peak),
        Column("loss after equal tokens (baseline's)", _losses),
        Column("learning rate (baseline's)", _rates),
        Column("J of tuning (baseline's)", _tuning),
    ]  # fmt: skip


def _verdict(recipe: Recipe, notes: Notes) -> str:
    """With the test behind it, or the bound."""
    found = recipe.verdict
    said = word(found, notes)
    return said if found is None or found.barred else f"{said} {notes.mark(found.reason)}"


def at_least(quantity: Quantity, notes: Notes, suffix: str = "") -> str:
    """A quantity, or its lower bound where that is all that is known."""
    if quantity.value is not None or quantity.low is None:
        return show(quantity, notes, suffix=suffix)
    mark = ESTIMATE if quantity.is_estimate else ""
    return f"≥ {mark}{number(quantity.low)}{suffix} {notes.mark(quantity.reason)}"


def _ratio(recipe: Recipe, notes: Notes) -> str:
    """With how little of the baseline's training it rests on, where that is under half."""
    ratio, share = recipe.ratio(ENERGY_TO_TARGET), recipe.rests_on
    said = at_least(ratio, notes, TIMES)
    unknown = ratio.value is None and ratio.low is None
    if unknown or share is None or share >= HALF:
        return said
    least = (
        f"rests on {100 * share:.0f} % of the baseline's training: with a seed it was there by then"
    )
    return f"{said} {notes.mark(least)}"


def _peak(recipe: Recipe, notes: Notes) -> str:
    """On the device where that has a mark of its own, else of the host."""
    device = recipe.level(DEVICE_PEAK_BYTES).value is not None
    metric: Metric = DEVICE_PEAK_BYTES if device else HOST_PEAK_BYTES
    sides = {who: recipe.level(metric, who).scaled(1 / GIB, "GiB") for who in WHO}
    return f"{only(sides['candidate'], notes)} ({only(sides['baseline'], notes)})"


def _losses(recipe: Recipe, notes: Notes) -> str:
    sides = {who: recipe.level(FINAL_LOSS, who) for who in WHO}
    return f"{show(sides['candidate'], notes)} ({only(sides['baseline'], notes)})"


def _rates(recipe: Recipe, notes: Notes) -> str:
    """With a note where one is at an end of those tried."""
    rates = {who: f"{facts.learning_rate:g}" for who, facts in recipe.training.facts.items()}
    ends = [notes.mark(end) for who in WHO[::-1] if (end := recipe.end_of_rates(who))]
    return " ".join([f"{rates['candidate']} ({rates['baseline']})", *ends])


def _tuning(recipe: Recipe, notes: Notes) -> str:
    tuning = recipe.training.tuning
    return f"{only(tuning['candidate'], notes)} ({only(tuning['baseline'], notes)})"


def advised(budgets: Sequence[Budget]) -> Iterator[Line]:
    """What they say to who chooses a recipe, after and apart from all that served."""
    for budget in budgets:
        yield Line("head", f"Training: {title(budget)}")
        yield Line(
            "say", "Joules to the baseline's last loss, which rank with nothing that serves:"
        )
        for recipe in budget.recipes:
            yield Line("item", f"{recipe.label}: {_advised(recipe)}")


def _advised(recipe: Recipe) -> str:
    """Its verdict, and the numbers behind it."""
    found = recipe.verdict
    return NO_VERDICT if found is None else f"{found.verdict}. {found.reason}"


def as_document(budgets: Sequence[Budget]) -> list[dict[str, Any]]:
    """The same for machines."""
    return [
        {
            **budget.setting._asdict(),
            "recipes": [
                {
                    "name": recipe.label,
                    "key": recipe.record.key,
                    "command": recipe.record.command,
                    "energy_to_target_ratio": recipe.ratio(ENERGY_TO_TARGET).model_dump(),
                    "reached": recipe.training.reached["candidate"],
                    "seeds": recipe.training.seeds,
                    "verdict": recipe.verdict and recipe.verdict.verdict,
                    "why": recipe.verdict and recipe.verdict.reason,
                }
                for recipe in budget.recipes
            ],
        }
        for budget in budgets
    ]


def title(budget: Budget) -> str:
    """What its recipes have alike."""
    return f"{budget.setting.title}; tier {budget.setting.tier}; joules: {budget.setting.meter}"


def training(budgets: Sequence[Budget], figures: Sequence[Sketch]) -> list[str]:
    """Its lines; none where nothing was trained."""
    if not budgets:
        return []
    lines = [HOW]
    for budget in budgets:
        lines += ["", f"**{prose(title(budget))}**", "", *table(budget.recipes, columns())]
        lines += ["", *_baseline(budget)]
    for figure in figures:
        lines += ["", f"![{prose(figure.said, 1500)}]({figure.name})"]
    return lines


def _baseline(budget: Budget) -> list[str]:
    """The baseline of the runs: measured anew beside each recipe."""
    notes = Notes()
    first, *_ = budget.recipes
    levels = ", ".join(
        f"{show(recipe.level(ENERGY_TO_TARGET, 'baseline'), notes)}" for recipe in budget.recipes
    )
    facts = first.training.facts["baseline"]
    said = (
        f"The baseline trains {facts.trained:,} parameters in {facts.precision.replace('_', ' ')}, and took "
        f"to its own last loss, in the order of the rows: {levels} J."
    )
    return [said, *(f"- {line}" for line in notes.legend())]
