"""The picture of a run under load: its curves, where they cross, and what is unbounded."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from helpers import examples, loads

from greenbench import report
from greenbench.analysis.groups.rows import groups
from greenbench.report.figures.load_curve import load_curves
from greenbench.report.figures.load_panel import HEIGHT, LEFT, RIGHT, WIDTH
from greenbench.report.figures.log_axes import LogScale, spanning, ticks
from greenbench.report.figures.style import BLACK, BLUE

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = 'a --> ]]> <script>alert(1)</script> & " $\\frac{1$ \x00\x1b[31m\u202e漢字'


def drawn(record):
    (sketch,) = load_curves(groups([record]))
    return ET.fromstring(sketch.draw())


def texts(root):
    return [element.text for element in root.iter(f"{SVG}text")]


def marks(root, tag, color):
    return [e for e in root.iter(f"{SVG}{tag}") if e.get("stroke") == color]


def circles(root):
    """The candidate's marks in the panels; the legend's stand left of the axes' first point."""
    return [e for e in marks(root, "circle", BLUE) if float(e.get("cy")) > 110]


def test_only_runs_under_load_have_one():
    assert load_curves(groups([examples.completed()])) == []
    records = [loads.completed(), loads.completed("int8"), examples.completed()]
    names = [sketch.name for sketch in load_curves(groups(records))]
    assert sorted(names) == sorted(f"loads/{record.key}.svg" for record in records[:2])


def test_the_same_record_gives_the_same_bytes_on_white():
    one, two = (load_curves(groups([loads.completed()]))[0].draw() for _ in range(2))
    assert one == two
    assert len(one) < 20_000  # the page holds one for every run
    first = next(e for e in ET.fromstring(one).iter(f"{SVG}rect"))
    assert first.get("fill") == "#ffffff"


def test_its_words_say_what_it_shows():
    (sketch,) = load_curves(groups([loads.completed()]))
    assert (
        "Baseline to candidate at 0.5, 2, 8 requests/s: joules per request 77.2 to 59.3, 40.8 to "
        "33.0, 20.7 to 38.1; seconds end to end (p99) 3.43 to 2.04, 3.67 to 2.35, 6.05 to unbounded."
        in sketch.said
    )
    assert "The winner changes at 2.9 (2.6–3.2) requests/s" in sketch.said
    (estimated,) = load_curves(groups([loads.completed(source=examples.ESTIMATE)]))
    assert "joules per request ≈77.2 to ≈59.3" in estimated.said


def test_a_saturated_point_is_hollow_and_unbounded_at_the_top():
    root = drawn(loads.completed())
    hollow = [e for e in circles(root) if e.get("fill") == "#ffffff"]
    assert len(hollow) == 2  # in each of the two panels
    energy, latency = sorted(hollow, key=lambda e: float(e.get("cy")))
    assert abs(float(energy.get("cx")) - float(latency.get("cx"))) < 1
    assert float(latency.get("cy")) < min(
        float(e.get("cy")) for e in circles(root) if float(e.get("cy")) > float(latency.get("cy"))
    )
    assert "unbounded" in texts(root)
    assert "unbounded" not in texts(drawn(loads.completed(winner="candidate")))


def test_the_crossing_is_marked_where_it_is_shown():
    shown, not_shown = (drawn(loads.completed(winner=winner)) for winner in ("crosses", "unknown"))
    assert "crossing 2.9 (2.6–3.2)" in texts(shown)
    bands = [e for e in shown.iter(f"{SVG}rect") if e.get("opacity") == "0.16"]
    assert len(bands) == 2
    assert not [text for text in texts(not_shown) if "crossing" in text]
    assert not [e for e in not_shown.iter(f"{SVG}rect") if e.get("opacity") == "0.16"]


def test_limits_have_panels_of_their_own_with_a_line():
    plain, limited = drawn(loads.completed()), drawn(loads.completed(limits=True))
    assert int(limited.get("height")) > int(plain.get("height")) + 2 * HEIGHT
    assert [t for t in texts(limited) if re.fullmatch(r"[\d.]+ s", t)] == ["0.8 s", "0.04 s"]
    assert {"to the first token, p99, s", "later tokens, request means, p99, s"} <= {
        *texts(limited)
    }


def test_an_estimate_says_so_over_its_panel_and_no_joules_have_none():
    estimated = drawn(loads.completed(source=examples.ESTIMATE))
    titles = [text for text in texts(estimated) if text.startswith("J/request")]
    assert titles == ["J/request, always-on and marginal (≈ estimated from CPU time, not measured)"]
    none = drawn(loads.completed(source="unavailable", winner="unknown"))
    assert not [text for text in texts(none) if text.startswith("J/request")]


def test_too_few_requests_draw_the_next_lower_percentile():
    assert "end to end, p90, s" in texts(drawn(loads.completed(few=True)))


def test_one_load_has_points_and_their_bars():
    root = drawn(loads.completed(rates=(2.0,), winner="unknown"))
    assert len(circles(root)) == 2
    bars = [e.get("d") for e in root.iter(f"{SVG}path") if e.get("stroke") == BLACK]
    assert any(re.fullmatch(r"M[\d.]+ [\d.]+V[\d.]+", path) for path in bars)


def test_a_marginal_energy_within_its_noise_is_left_out_and_breaks_nothing():
    record = loads.completed()
    point = record.load.points[0]
    name = "marginal_energy_per_request_j"
    below = point.candidate.metrics[name].model_copy(update={"value": -1.0, "low": -4.0})
    side = point.candidate.model_copy(update={"metrics": point.candidate.metrics | {name: below}})
    points = [point.model_copy(update={"candidate": side}), *record.load.points[1:]]
    load = record.load.model_copy(update={"points": points})
    dots = [
        len([e for e in drawn(r).iter(f"{SVG}circle") if e.get("r") == "1.8"])
        for r in (record, record.model_copy(update={"load": load}))
    ]
    assert dots == [10, 9]


@pytest.mark.parametrize("rates", [loads.RATES, (1.0,), tuple(0.25 * 1.35**k for k in range(14))])
def test_all_marks_lie_inside_and_numbers_below_do_not_touch(rates):
    root = drawn(loads.completed(rates=rates, limits=True, winner="unknown"))
    height = float(root.get("height"))
    for mark in circles(root):
        assert LEFT < float(mark.get("cx")) < WIDTH - RIGHT
        assert 0 < float(mark.get("cy")) < height
    below = [e for e in root.iter(f"{SVG}text") if float(e.get("y")) == height - 44 + 16]
    places = [(float(e.get("x")), 3.0 * len(e.text)) for e in below]
    for (left, half), (right, other) in pairwise(places):
        assert left + half < right - other


@pytest.mark.parametrize(("low", "high"), [(1, 1.2), (0.03, 0.1), (20, 77), (0.5, 300), (1, 1e7)])
def test_a_scale_has_a_few_ticks_in_order(low, high):
    found = ticks(spanning([low, high], 0, 100))
    assert 2 <= len(found) <= 11
    assert found == sorted(found)


def test_a_logarithmic_scale():
    scale = LogScale(1, 100, 50, -50)
    assert [scale.at(value) for value in (1, 10, 100, 1000, 0.1)] == [50, 25, 0, 0, 50]


def test_hostile_names_are_drawn_not_obeyed():
    record = loads.completed(name=HOSTILE, device={"kind": HOSTILE, "name": HOSTILE})
    found = load_curves(groups([record.model_copy(update={"key": f"../../{HOSTILE}"})]))
    assert ".." not in found[0].name
    assert not list(ET.fromstring(found[0].draw()).iter(f"{SVG}script"))


def test_what_a_report_no_longer_shows_is_removed(tmp_path):
    record = loads.completed()
    report.write(tmp_path, [record], [])
    assert (tmp_path / "loads" / f"{record.key}.svg").exists()
    report.write(tmp_path, [], [])
    assert not list(tmp_path.rglob("loads/*"))
