"""All figures but the frontier: drawn where there is data, told in words, the same bytes again."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import matplotlib
import pytest
from helpers import campaign, examples

from greenbench import report
from greenbench.analysis.energy.energy_by_phase import phases
from greenbench.analysis.groups.rows import Row, groups
from greenbench.report.figures import sketches
from greenbench.report.figures.energy_by_phase import energy_by_phase, phases_figure
from greenbench.report.figures.energy_ratios import KINDS, forest, forest_figure
from greenbench.report.figures.exit_depths import exits, exits_figure
from greenbench.report.figures.traces import power_traces
from greenbench.report.figures.training_losses import losses, losses_figure
from greenbench.schema.window import Trace

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'a --> ]]> <script>alert(1)</script> & " $\\frac{1$ \x00\x1b[31m\u202e漢字'
CURVE = {"distillation": {"loss_curve": [[1, 0.9], [5, 0.6]], "tokens": 512, "seconds": 9.5}}
DEPTHS = {"tokens_by_depth": {"15": 25, "30": 75}}


def texts(figure):
    """Every text in the figure."""
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def with_part(record, **changes):
    """The record with its technique's fields replaced."""
    (part,) = record.techniques
    return record.model_copy(update={"techniques": [part.model_copy(update=changes)]})


def traced(record, **values):
    """The record with a trace in each window."""
    known = {"power_w": [300.0, None, 310.0], "temperature_c": [60, 61, 62]} | values
    nothing = dict.fromkeys(("sm_mhz", "mem_mhz", "throttle", "utilization"), [None] * 3)
    trace = Trace(step_s=3.3, **nothing, **known)
    windows = [window.model_copy(update={"trace": trace}) for window in record.windows]
    return record.model_copy(update={"windows": windows})


def everything(name="x"):
    """One run that every figure of one run can show."""
    record = with_part(campaign.run(name, 0.7), details=CURVE, observed=DEPTHS)
    return traced(record)


def names(records):
    return [sketch.name for sketch in sketches(groups(records), records)]


def test_figures_are_there_only_where_there_is_data():
    assert names([]) == ["frontier.svg"]
    measured = ["frontier.svg", "figures/forest.svg", "figures/phases.svg"]
    assert names([campaign.run("x", 0.7)]) == measured
    record = everything()
    assert names([record]) == [
        *measured, "figures/exits.svg", "figures/losses.svg", f"traces/{record.key}.svg",
    ]  # fmt: skip


def test_what_a_report_no_longer_shows_is_removed(tmp_path):
    report.write(tmp_path, [everything()], [])
    assert (tmp_path / "figures" / "losses.svg").exists()
    report.write(tmp_path, [], [])
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(left) == ["frontier.svg", "index.html", "leaderboard.md"]


def test_every_picture_has_its_words_in_the_leaderboard(tmp_path):
    paths = report.write(tmp_path, [everything()], [])
    text = (tmp_path / "leaderboard.md").read_text()
    for path in paths:
        if path.suffix != ".svg":
            continue
        name = str(path.relative_to(tmp_path))
        image = next(line for line in text.splitlines() if f"]({name})" in line)
        assert len(image.partition("![")[2].partition("](")[0]) > 10
    assert "of 100 tokens 25.0 % after 15, 75.0 % after 30 of 30 blocks; mean 26.2" in text
    assert "loss 0.900 to 0.600 in 5 steps (512 tokens, 9.50 s)" in text
    assert "power 300 to 310 W, mean 305; temperature 60 to 62 °C, mean 61" in text


def test_a_second_drawing_gives_the_same_bytes_on_white():
    records = [everything(), everything("y")]
    for one, two in zip(*(sketches(groups(records), records) for _ in range(2)), strict=True):
        data = one.draw()
        assert data == two.draw()
        root = ET.fromstring(data)
        first = next(e for e in root.iter() if "ffffff" in e.get("style", "") + e.get("fill", ""))
        assert first is not None


@pytest.mark.parametrize("name", [HOSTILE, "x" * 300])
def test_hostile_names_are_drawn_not_obeyed(name):
    device = {"kind": name, "name": name}
    record = with_part(
        campaign.run("x", 0.7, device=device), name=name, details=CURVE, observed=DEPTHS
    )
    records = [traced(record.model_copy(update={"name": name, "key": f"../../{name}"}))]
    found = sketches(groups(records), records)
    assert len(found) == 6
    for sketch in found:
        assert ".." not in sketch.name
        assert not list(ET.fromstring(sketch.draw()).iter(f"{SVG}script"))


@pytest.mark.parametrize(
    "seen",
    [
        {"tokens_by_depth": value}
        for value in ("x", {}, {"a": 1}, {"3": "many"}, {"3": -1}, {"99999": 1}, {"3": 0}, None)
    ]
    + [{}],
)
def test_counts_that_are_none_are_not_drawn(seen):
    assert exits(groups([with_part(campaign.run("x", 0.7), observed=seen)])) == []


@pytest.mark.parametrize(
    "told",
    [None, 3, {}, {"loss_curve": []}, {"loss_curve": "x"}, {"loss_curve": [[1], [1, "x"], 5]}],
)
def test_curves_that_are_none_are_not_drawn(told):
    record = with_part(campaign.run("x", 0.7), details={"distillation": told})
    assert losses(groups([record])) == []


def test_the_forest_has_each_run_with_its_ratio_and_its_verdict_by_word_and_marker():
    found = groups(campaign.group())
    (axes,) = forest_figure(found).axes
    words = [text.get_text() for text in axes.texts]
    assert words[:6] == ["saver", "capped (flagged)", "unsure", "none", "same", "coster"]
    assert words[6] == "0.700× (0.698–0.702), saves"
    assert words[-1] == "1.300× (1.296–1.304), costs"
    markers = [line for line in axes.get_lines() if line.get_marker() != "None"]
    places = {row: line.get_marker() for line in markers for row in line.get_ydata()}
    drawn = [places[row] for row in range(6)]
    kinds = ["saves", "saves", "inconclusive", "equivalent", "equivalent", "costs"]
    assert drawn == [KINDS[kind]["marker"] for kind in kinds]
    assert len({style["marker"] for style in KINDS.values()} | {None}) >= 5


def test_an_estimate_is_open_and_says_so():
    found = groups([examples.completed("x", source=examples.ESTIMATE)])
    (axes,) = forest_figure(found).axes
    assert axes.texts[1].get_text() == "≈0.70× (0.68–0.72), estimate"
    (marker,) = [line for line in axes.get_lines() if line.get_marker() == "D"]
    assert marker.get_fillstyle() == "none"
    assert "estimate" in forest(found)[0].said


def test_phases_add_up_to_the_request():
    """Ten requests a window at 0.7 of 300 W for 10 s, prefill a fifth of that."""
    found = phases(Row(campaign.run("x", 0.7), "x"))
    assert found.prefill.value == pytest.approx(0.2 * 210, rel=0.01)
    assert found.prefill.value + found.decode.value == pytest.approx(210, rel=0.01)
    assert found.baseline.value == pytest.approx(300)
    assert found.idle.value == pytest.approx(campaign.IDLE_W * 1.0)
    assert found.score.value is None
    assert "not metered" in found.score.reason


def test_phases_of_a_batch_are_shared_by_its_requests():
    workload = {"name": "x", "batch_size": 4, "prompt_tokens": 64, "output_tokens": 32}
    found = phases(Row(campaign.run("x", 0.7, workload=workload), "x"))
    assert found.baseline.value == pytest.approx(300 / 4)


def test_the_phases_figure_stacks_prefill_and_decode():
    found = groups([campaign.run("x", 0.7)])
    request, once = phases_figure(found).axes
    prefill, decode = (boxes.get_paths()[0].get_extents() for boxes in request.collections[:2])
    assert decode.x0 == pytest.approx(prefill.width)
    assert once.get_xlabel() == "J once, in the run"
    assert "x prefill 42.0 J, decode 168 J" in energy_by_phase(found)[0].said


def test_the_exit_histogram_has_a_bar_for_each_depth():
    (axes,) = exits_figure(exits(groups([everything()]))).axes
    assert [bar.get_height() for bar in axes.patches] == [25.0, 75.0]
    assert [bar.get_center()[0] for bar in axes.patches] == pytest.approx([15, 30])


def test_the_loss_curve_is_drawn_as_it_was_kept():
    (axes,) = losses_figure(losses(groups([everything()]))).axes
    (line,) = axes.get_lines()
    assert line.get_xydata().tolist() == CURVE["distillation"]["loss_curve"]
    assert "training loss" in texts(axes.figure)


def test_a_trace_breaks_where_nothing_was_told_and_shades_what_is_invalid():
    whole, broken = traced(campaign.run("a", 0.7)), everything("b")
    windows = [w.model_copy(update={"validity": "invalid"}) for w in broken.windows[:1]]
    broken = broken.model_copy(update={"windows": windows + broken.windows[1:], "key": whole.key})
    found = power_traces([broken, whole])
    assert [sketch.name for sketch in found] == [
        f"traces/{whole.key}.svg", f"traces/{whole.key}-2.svg",
    ]  # fmt: skip
    clean, shaded = (sketch.draw().decode() for sketch in found)
    assert 'opacity="0.2"' in shaded
    assert 'opacity="0.2"' not in clean
    paths = [e.get("d", "") for e in ET.fromstring(clean).iter(f"{SVG}path") if e.get("fill")]
    assert paths[0].count("M") == 2  # 300 W, a gap, 310 W
    assert "1 windows invalid" in found[1].said


def test_a_device_that_tells_power_alone_has_a_trace():
    record = traced(campaign.run("a", 0.7), temperature_c=[None] * 3)
    (sketch,) = power_traces([record])
    assert b"the device told none" in sketch.draw()
    assert power_traces([traced(record, power_w=[None] * 3)]) == []
