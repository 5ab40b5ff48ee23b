"""The figures in the leaderboard, each with its text alternative and the tables it draws."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.analysis.groups.rows import Group
from greenbench.report.figures import Sketch
from greenbench.report.markdown.format import folded, prose, titled
from greenbench.report.markdown.interactions import together
from greenbench.report.markdown.sections.crossover import crossover
from greenbench.report.markdown.sections.energy_by_phase import phase_table
from greenbench.report.markdown.sections.model_frontier import side_by_side

FIRST = ("frontier.svg", "figures/forest.svg", "figures/solved.svg")
SECTIONS = (
    ("What techniques save together", "figures/interactions.svg", together),
    ("Where techniques stop paying", "figures/crossover.svg", crossover),
    ("Where the joules go", "figures/phases.svg", phase_table),
)
TRAINED = ("figures/exits.svg", "figures/losses.svg")
TRACES = "traces/"
SAID = 1500  # letters of a text alternative: more than a screen reader's user would hear out


def first(found: Sequence[Sketch]) -> list[str]:
    """The figures that answer the question."""
    return [line for sketch in found if sketch.name in FIRST for line in (_image(sketch), "")]


def sections(groups: Sequence[Group], found: Sequence[Sketch]) -> list[str]:
    """All other figures, in sections with their tables; what has no data is left out."""
    lines = titled("Models side by side", side_by_side(groups))
    for title, name, write in SECTIONS:
        images = [_image(sketch) for sketch in found if sketch.name == name]
        lines += titled(title, [*write(groups), *images])
    inside = [line for s in found if s.name in TRAINED for line in (*_told(s), "")]
    lines += titled("Inside the techniques", inside[:-1])
    traces = [line for s in found if s.name.startswith(TRACES) for line in (*_told(s), "")]
    folds = folded("Power and temperature, run by run", traces[:-1]) if traces else []
    return [*lines, *titled("Power and temperature", folds)]


def _image(sketch: Sketch) -> str:
    return f"![{prose(sketch.said, SAID)}]({sketch.name})"


def _told(sketch: Sketch) -> list[str]:
    """A figure without a table: its words stand above it, for everyone."""
    title = prose(sketch.said.partition(".")[0].partition(":")[0], 80)
    return [prose(sketch.said, SAID), "", f"![{title}]({sketch.name})"]
