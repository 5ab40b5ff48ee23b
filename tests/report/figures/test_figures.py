"""The figure: the same bytes every time, readable on any background, labels apart."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import combinations
from math import isfinite

import matplotlib
import numpy as np
import pytest
from helpers import examples
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation

from greenbench.analysis.groups.rows import groups
from greenbench.report.figures import frontier_figure, frontier_svg
from greenbench.report.figures.energy_by_phase import phases_figure
from greenbench.report.figures.energy_ratios import forest_figure
from greenbench.report.figures.frontier import frontier
from greenbench.schema.metrics import SECONDS_PER_TOKEN

HOSTILE = 'a --> ]]> <script>alert(1)</script> & " $\\frac{1$ \x00\x1b[31m\u202e漢字'
NAMES = ["none", "dtype(float32)", "int8_bnb", "int4_bnb", "prune_depth", "prune_depth + int4_bnb"]
SVG = "{http://www.w3.org/2000/svg}"


def crowd():
    """Six runs close to each other."""
    return groups(
        examples.completed(name, energy=1 - 0.01 * index, gained=index % 3, lost=index % 2)
        for index, name in enumerate(NAMES)
    )


def labels(axes):
    """The runs' names, which point at their points."""
    return [text for text in axes.texts if isinstance(text, Annotation)]


def texts(figure):
    """Every text in the figure."""
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def test_the_same_records_give_the_same_bytes_whatever_the_user_has_configured():
    before = frontier_svg(crowd())
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": None, "axes.grid": False}):
        assert frontier_svg(crowd()) == before
        assert matplotlib.rcParams["font.size"] == 30
    assert b"<dc:date>" not in before


def test_it_brings_its_own_background():
    root = ET.fromstring(frontier_svg(crowd()))
    first = next(
        element for element in root.iter(f"{SVG}path") if "fill" in element.get("style", "")
    )
    assert "fill: #ffffff" in first.get("style")


def test_labels_cover_neither_each_other_nor_a_point():
    figure = frontier_figure(crowd())
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    boxes = {}
    for note in labels(axes):
        note.update_positions(renderer)
        boxes[note.get_text()] = matplotlib.text.Text.get_window_extent(note, renderer)
    assert sorted(boxes) == sorted(NAMES)
    for one, other in combinations(boxes.values(), 2):
        assert not one.overlaps(other)
    markers = [line for line in axes.get_lines() if line.get_marker() != "None"]
    points = [place for line in markers for place in axes.transData.transform(line.get_xydata())]
    assert len(points) == len(NAMES)
    for point in points:
        assert not any(box.contains(*point) for box in boxes.values())


def test_a_label_without_a_line_to_its_point_is_nearest_to_that_point():
    found = groups(
        examples.completed(name, energy=0.7 - 0.004 * index, gained=index, lost=0)
        for index, name in enumerate(NAMES)
    )
    figure = frontier_figure(found)
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axes,) = figure.axes
    points = axes.transData.transform([note.xy for note in labels(axes)])
    for own, note in enumerate(labels(axes)):
        note.update_positions(renderer)
        box = matplotlib.text.Text.get_window_extent(note, renderer)
        near = np.clip(points, box.min, box.max)
        away = np.hypot(*(points - near).T)
        assert note.arrow_patch or away[own] < away.min() + 2


def test_one_panel_for_each_group_with_both_numbers():
    found = groups(
        [
            examples.completed("a"),
            examples.completed("a", tier="smoke"),
            examples.completed("a", quality=[], device=examples.CPU),
        ]
    )
    figure = frontier_figure(found)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.rpartition("; ")[2] for title in titles] == ["tier dev", "tier smoke: no claims"]


@pytest.mark.parametrize("changes", [{"source": examples.ESTIMATE}, {"energy": None}])
def test_without_measured_joules_quality_stands_against_time(changes):
    """As the answer goes by speed then: what ranks is what was measured."""
    found = groups([examples.completed("fast", speed=1.6, **changes)])
    assert "Quality against time per token" in frontier(found)[0].said
    (axes,) = frontier_figure(found).axes
    assert axes.get_xlabel().startswith("seconds per token at the mean baseline (top: ratio to it)")
    assert "measured by the clock" in axes.get_xlabel()
    (mark,) = [line for line in axes.get_lines() if line.get_marker() in ("*", "o")]
    assert group_ratio(found) == pytest.approx(1 / 1.6)
    assert mark.get_xdata()[0] == pytest.approx(found[0].baseline_level / 1.6)


def group_ratio(found):
    return found[0].rows[0].ratio(SECONDS_PER_TOKEN).value


def test_drift_between_runs_does_not_move_the_points():
    steady, drifted = (
        groups([examples.completed("a", baseline_j=2.0), examples.completed("b", baseline_j=j)])
        for j in (2.0, 8.0)
    )
    for found in (steady, drifted):
        (axes,) = frontier_figure(found).axes
        marked = [line for line in axes.get_lines() if line.get_marker() in "*o"]
        places = [place for line in marked for place in line.get_xdata()]
        assert len(places) == 2
        assert places[0] == pytest.approx(places[1])


def test_kinds_of_runs_differ_by_shape():
    (axes,) = frontier_figure(
        groups(
            [
                examples.completed("none", energy=1, gained=0, lost=0),
                examples.completed("best", energy=0.5, gained=1, lost=0),
                examples.completed("worst", energy=2),
            ]
        )
    ).axes
    markers = {line.get_label(): line.get_marker() for line in axes.get_lines()}
    shapes = [markers[name] for name in ("on the frontier", "beaten", "A/A run (baseline)")]
    assert len(set(shapes)) == 3


@pytest.mark.parametrize("records", [[], [examples.failed()], [examples.completed(quality=[])]])
def test_without_both_numbers_the_figure_says_so(records):
    figure = frontier_figure(groups(records))
    assert "No completed run has both an accuracy and a ratio yet." in texts(figure)
    ET.fromstring(frontier_svg(groups(records)))


def test_hostile_names_are_drawn_not_obeyed():
    records = [examples.completed(name=HOSTILE, device={"kind": HOSTILE, "name": HOSTILE})]
    root = ET.fromstring(frontier_svg(groups(records)))
    assert not list(root.iter(f"{SVG}script"))


@pytest.mark.parametrize("half", [None, 0.02])
def test_one_run_and_runs_far_apart_can_be_drawn(half):
    alone = groups([examples.completed(half=half)])
    apart = groups([examples.completed("a", energy=0.01, half=half), examples.completed("b")])
    for found in (alone, apart):
        ET.fromstring(frontier_svg(found))
        (panel,) = frontier_figure(found).axes[:1]
        for low, high in (panel.get_xlim(), panel.get_ylim()):
            assert isfinite(low)
            assert isfinite(high)
            assert low < high


@pytest.mark.parametrize(
    ("draw", "axes"), [(frontier_figure, 24), (forest_figure, 24), (phases_figure, 48)]
)
def test_of_very_many_groups_the_first_are_drawn_and_the_rest_counted(draw, axes):
    many = groups(
        examples.completed(device={"kind": "cpu", "name": f"CPU {index}"}) for index in range(26)
    )
    figure = draw(many)
    assert len(figure.axes) == axes
    assert "2 more groups have no panel; see the tables" in [
        text.get_text() for text in figure.texts
    ]
