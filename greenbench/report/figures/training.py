"""``figures/training.svg``: the loss of each recipe against the joules of its training."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from greenbench.analysis.training.table import Budget, Recipe
from greenbench.report.figures.style import GREY, LINES, PANELS, Grid, Sketch, source, svg
from greenbench.schema.training.record import Course
from greenbench.schema.window import Who
from greenbench.wording import number, plain

NAME = "figures/training.svg"
PANEL_IN, RIGHT_IN = 2.8, 1.9


class Curves(NamedTuple):
    """One recipe's trainings, a curve for each seed: joules and losses."""

    label: str
    lines: list[tuple[list[float], list[float]]]

    @property
    def said(self) -> str:
        """In words."""
        ends = [line[1][-1] for line in self.lines]
        spent = [line[0][-1] for line in self.lines]
        return (
            f"{self.label}: to a loss of {number(sum(ends) / len(ends))} in "
            f"{number(sum(spent) / len(spent))} J, mean of {len(ends)}"
        )


def training_curves(budgets: Sequence[Budget]) -> list[Sketch]:
    """The figure, where a model was trained and its joules are known."""
    panels = [(budget, curves) for budget in budgets if (curves := _curves(budget))][:PANELS]
    if not panels:
        return []
    words = ". ".join(each.said for _, curves in panels for each in curves)
    said = f"Loss on held-out text against joules of training. {words}."
    return [Sketch(NAME, said, lambda: svg(lambda: _figure(panels), "Loss against joules"))]


def _curves(budget: Budget) -> list[Curves]:
    """The baseline's of the first run, then each candidate's."""
    first, *_ = budget.recipes
    found = [_of(first, "baseline", "full fine-tuning, AdamW")]
    found += [_of(recipe, "candidate", recipe.label) for recipe in budget.recipes]
    return [curves for curves in found if curves.lines][: len(LINES)]


def _of(recipe: Recipe, who: Who, label: str) -> Curves:
    mine = [course for course in recipe.training.courses if course.who == who]
    return Curves(plain(label, 40), [line for c in mine if len((line := _line(c))[0]) > 1])


def _line(course: Course) -> tuple[list[float], list[float]]:
    known = [(p.energy_j, p.loss) for p in course.points]
    kept = [
        (energy_j, loss) for energy_j, loss in known if energy_j is not None and loss is not None
    ]
    return [energy_j for energy_j, _ in kept], [loss for _, loss in kept]


def _figure(panels: Sequence[tuple[Budget, list[Curves]]]) -> Figure:
    grid = Grid([PANEL_IN] * len(panels), left_in=0.8, right_in=RIGHT_IN, foot_in=0.55)
    for index, (budget, curves) in enumerate(panels):
        _draw(grid.panel(index), budget, curves)
    return grid.figure


def _draw(axes: Axes, budget: Budget, curves: Sequence[Curves]) -> None:
    """A thin line for each seed; the baseline's last losses are the targets."""
    for each, (color, dashes, marker) in zip(curves, LINES, strict=False):
        style: dict[str, Any] = {"color": color, "linestyle": dashes, "linewidth": 1.1}
        for number_, (joules, losses) in enumerate(each.lines):
            label = each.label if not number_ else None
            axes.plot(joules, losses, marker=marker, markersize=3, label=label, **style)
    targets = {
        c.target_loss for c in budget.recipes[0].training.courses if c.target_loss is not None
    }
    for target in sorted(targets):
        axes.axhline(target, color=GREY, linewidth=0.6, linestyle=":")
    axes.set_xlim(left=0)
    axes.set_xlabel(f"joules of training ({source(budget.setting)})")
    axes.set_ylabel("held-out loss, nats a token")
    shared = budget.setting
    asked = f"{shared.workload.partition(' (')[0]}; tier {shared.tier}"
    title = "\n".join(textwrap.fill(plain(line, 150), 78) for line in (shared.place, asked))
    axes.set_title(title, loc="left", fontsize="medium", parse_math=False)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False,
                         fontsize="small")  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
