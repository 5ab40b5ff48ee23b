"""``loads/KEY.svg``: joules per request and latency against the load, of one run.

Written by hand rather than by matplotlib, as the traces are: there is one for every run, and the page
holds them too.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from typing import Final

from greenbench.analysis.groups.comparable import Setting, setting
from greenbench.analysis.groups.rows import Group, Row
from greenbench.report.figures.load_panel import COLORS, HEIGHT, LEFT, RIGHT, WIDTH, Panel, drawn
from greenbench.report.figures.log_axes import (
    LETTER_PX,
    LogScale,
    line,
    marker,
    numbered,
    spanning,
    written,
)
from greenbench.report.figures.style import BLACK, GREY, PAPER, Sketch, source
from greenbench.report.under_load import (
    FIRST_TOKEN,
    LATER_TOKENS,
    UNBOUNDED,
    UNITS,
    is_unbounded,
    loaded,
    pair,
    tail,
    winner,
)
from greenbench.schema.metrics import (
    ENERGY_PER_REQUEST,
    MARGINAL_ENERGY_PER_REQUEST,
)
from greenbench.schema.quantity import Quantity, said
from greenbench.schema.resolved import ResolvedSlo
from greenbench.schema.traffic import LoadCurve
from greenbench.wording import ESTIMATE, file_stem, number, plain, short

FOLDER: Final = "loads"
TITLE, GAP, FOOT = 22, 20, 44
"""Room above a panel, between two, and under the last."""
LETTERS: Final = 104
"""Of a line of the heading."""
LABEL: Final = 14
"""Room above the first panel for what stands over the crossing."""


def file_name(row: Row) -> str:
    """Where the report keeps the picture, from the leaderboard's place."""
    return f"{FOLDER}/{file_stem(row.name)}.svg"


def load_curves(groups: Sequence[Group]) -> list[Sketch]:
    """A picture for each run under load."""
    return [
        Sketch(file_name(row), told(row, curve), partial(svg, row, curve))
        for group in groups
        for row, curve in loaded(group.rows)
    ]


def told(row: Row, curve: LoadCurve) -> str:
    """What the picture shows, in words: at the lowest load, the run's own and the highest."""
    metric, percentile = tail(curve)
    ends = {curve.points[0].load, curve.headline, curve.points[-1].load}
    shown = [point for point in curve.points if point.load in ends]
    at = ", ".join(f"{point.load:g}" for point in shown)
    energies, latencies = (
        ", ".join(" to ".join(map(_brief, pair(point, each))) for point in shown)
        for each in (ENERGY_PER_REQUEST, metric)
    )
    return (
        f"{short(row.label, 40)} under load, {plain(setting(row.record).asked, 200)}. Baseline to "
        f"candidate at {at} {UNITS[curve.unit]}: joules per request {energies}; seconds end to end "
        f"({percentile}) {latencies}. {winner(curve, 'the candidate', said)}"
    )


def _brief(found: Quantity) -> str:
    if found.value is None:
        return UNBOUNDED if is_unbounded(found) else "n/a"
    return f"{ESTIMATE if found.is_estimate else ''}{number(found.value)}"


def panels(curve: LoadCurve, limits: ResolvedSlo, here: Setting) -> list[Panel]:
    """Energy where there is any, the whole latency, and each latency that has a limit."""
    metric, percentile = tail(curve)
    energy = f"J/request, always-on and marginal ({source(here)})"
    found = [
        Panel(energy, ENERGY_PER_REQUEST, MARGINAL_ENERGY_PER_REQUEST),
        Panel(f"end to end, {percentile}, s", metric),
    ]
    parts = (
        ("to the first token", FIRST_TOKEN, limits.ttft_ms),
        ("later tokens, request means", LATER_TOKENS, limits.tpot_ms),
    )
    for what, latency, limit in parts:
        if limit is not None:
            metric, percentile = tail(curve, latency)
            found.append(Panel(f"{what}, {percentile}, s", metric, limit_s=limit / 1e3))
    return found[1:] if here.source == "unavailable" else found


def svg(row: Row, curve: LoadCurve) -> bytes:
    """The picture: the same bytes for the same record."""
    here = setting(row.record)
    shown = panels(curve, row.record.spec.slo, here)
    head, top = _heading(row, here)
    loads = [point.load for point in curve.points]
    across = spanning(loads, LEFT, WIDTH - LEFT - RIGHT, room=1.3)
    cross = curve.crossing.load
    crosses = cross.value is not None and across.low < cross.value < across.high
    top += TITLE + LABEL * crosses
    tops = [top + index * (TITLE + HEIGHT + GAP) for index in range(len(shown))]
    body = [*head, *(_crossing(cross, across, tops) if crosses else [])]
    for panel, place in zip(shown, tops, strict=True):
        above = place - 8 - LABEL * (crosses and place == top)
        body.append(written(escape(panel.title), LEFT, above))
        body += drawn(panel, curve, across, place)
    bottom = tops[-1] + HEIGHT
    body += numbered(across, loads, bottom)
    unit = f"{UNITS[curve.unit]} (logarithmic)"
    body.append(written(unit, LEFT + across.length / 2, bottom + 36, "middle"))
    height = bottom + FOOT
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" font-family="sans-serif" font-size="11" fill="{BLACK}">'
    )
    title = f"<title>{escape(plain(told(row, curve), 1500))}</title>"
    paper = f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>'
    return "\n".join([start, title, paper, *body, "</svg>\n"]).encode()


def _heading(row: Row, here: Setting) -> tuple[list[str], int]:
    """The run, what it was asked, and what lines and marks mean; and where that ends."""
    tier = f"tier {here.tier}" + ("" if here.claims else ": no claims")
    lines = [
        part
        for text in (here.place, f"{here.asked}; {tier}")
        for part in textwrap.wrap(plain(text, 300), LETTERS)
    ]
    name = escape(plain(row.label, 60))
    found = [written(f"{name} under load", 14, 20, more=' font-size="14"')]
    found += [
        written(escape(text), 14, 38 + 15 * place, more=f' fill="{GREY}"')
        for place, text in enumerate(lines)
    ]
    y = 38 + 15 * len(lines) + 8
    return [*found, *_legend(name, y), *_line_kinds(y + 18)], y + 28


def _legend(name: str, y: float) -> Iterator[str]:
    x = 20.0
    for color, who, square in zip(COLORS, ("baseline", name), (True, False), strict=True):
        yield marker((x, y - 4), color, square=square, filled=True)
        yield written(who, x + 9, y)
        x += 30 + LETTER_PX * len(who)
    yield marker((x, y - 4), GREY, square=False, filled=False)
    yield written("hollow: saturated, requests came faster than answers", x + 9, y)


def _line_kinds(y: float) -> Iterator[str]:
    yield line([(14, y - 4), (38, y - 4)], GREY, 2)
    yield written("always-on", 43, y)
    yield line([(116, y - 4), (140, y - 4)], GREY, 1.1, "4 3")
    yield written("marginal", 145, y)
    yield written("bands: 95 % intervals; less is better in each panel", 211, y)


def _crossing(found: Quantity, across: LogScale, tops: Sequence[float]) -> Iterator[str]:
    """A line through each panel where the winner changes, and its interval as a band."""
    x = across.at(found.value or 0.0)
    for top in tops:
        if found.bounds:
            low, high = map(across.at, found.bounds)
            yield (
                f'<rect x="{low:.1f}" y="{top:.1f}" width="{max(high - low, 1):.1f}" '
                f'height="{HEIGHT}" fill="{GREY}" opacity="0.16"/>'
            )
        yield line([(x, top), (x, top + HEIGHT)], GREY, 1.1, "2 3")
    text = f"crossing {said(found)}"
    half = LETTER_PX * len(text) / 2
    middle = min(max(x, LEFT + half), WIDTH - half)
    yield written(escape(text), middle, tops[0] - 5, "middle", f' fill="{GREY}"')
