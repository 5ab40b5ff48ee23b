"""``figures/exits.svg``: after how many blocks tokens left the model, for runs with early exit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from greenbench.analysis.groups.rows import Group
from greenbench.report.figures.style import (
    BLUE,
    PANELS,
    SKY,
    VERMILLION,
    Grid,
    Sketch,
    heading,
    svg,
)
from greenbench.wording import fixed, plain

NAME = "figures/exits.svg"
PANEL_IN = 1.7


class Exits(NamedTuple):
    """How deep one run's tokens went."""

    label: str
    place: str
    layers: int
    tokens: dict[int, int]
    """Tokens by the blocks that they took."""

    @property
    def mean(self) -> float:
        """Blocks a token took on average."""
        return sum(depth * count for depth, count in self.tokens.items()) / self.total

    @property
    def total(self) -> int:
        """Tokens counted."""
        return sum(self.tokens.values())

    @property
    def said(self) -> str:
        """The histogram in words."""
        shares = ", ".join(
            f"{fixed(100 * count / self.total, 1)} % after {depth}"
            for depth, count in sorted(self.tokens.items())
        )
        return (
            f"{self.label}: of {self.total} tokens {shares} of {self.layers} blocks; "
            f"mean {fixed(self.mean, 1)}"
        )


def exit_depths(groups: Sequence[Group]) -> list[Sketch]:
    """The figure, where a run counted its tokens by depth."""
    found = exits(groups)
    if not found:
        return []
    said = f"How deep tokens went. {'. '.join(each.said for each in found)}."
    return [Sketch(NAME, said, lambda: svg(lambda: exits_figure(found), "How deep tokens went"))]


def exits(groups: Sequence[Group]) -> list[Exits]:
    """The first runs that counted their tokens by depth."""
    found = []
    for group in groups:
        for row in group.rows:
            layers = (row.record.baseline.layers if row.record.baseline else None) or 0
            for part in row.record.techniques:
                tokens = _tokens(part.observed.get("tokens_by_depth"))
                if tokens:
                    place = heading(group, 90)
                    deepest = max(layers, *tokens)
                    found.append(Exits(plain(row.label, 40), place, deepest, tokens))
    return found[:PANELS]


def _tokens(counts: Any) -> dict[int, int]:
    """Counts by depth; empty where they are not what they should be, as a record is not trusted."""
    if not isinstance(counts, Mapping):
        return {}
    found = {
        int(depth): count
        for depth, count in counts.items()
        if str(depth).isdecimal() and isinstance(count, int) and count > 0
    }
    return found if all(0 < depth < 10_000 for depth in found) else {}


def exits_figure(found: Sequence[Exits]) -> Figure:
    """A histogram per run: bars where tokens left, a triangle at the mean."""
    grid = Grid([PANEL_IN] * len(found), left_in=0.8, head_in=0.85, foot_in=0.6)
    for index, each in enumerate(found):
        _draw(grid.panel(index), each)
    return grid.figure


def _draw(axes: Axes, each: Exits) -> None:
    depths = sorted(each.tokens)
    shares = [100 * each.tokens[depth] / each.total for depth in depths]
    bars = axes.bar(depths, shares, 0.8, color=SKY, edgecolor=BLUE)
    axes.bar_label(bars, [f"{fixed(share, 1)} %" for share in shares], fontsize="small")
    axes.plot(each.mean, 130, "v", color=VERMILLION, markersize=8)
    axes.set_xlim(0, each.layers + 1)
    axes.set_ylim(0, 138)
    axes.set_yticks([0, 50, 100])
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g} %"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("tokens")
    axes.set_xlabel(
        f"blocks taken, of {each.layers}; triangle: the mean, {fixed(each.mean, 1)}, over "
        f"{each.total} tokens"
    )
    axes.set_title(f"{each.label}\n{each.place}", loc="left", fontsize="medium", parse_math=False)
