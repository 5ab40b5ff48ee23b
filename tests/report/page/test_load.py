"""A run under load on the page: the leaderboard's table and sentences, its picture, every number."""

from __future__ import annotations

import json
from html.parser import HTMLParser

from helpers import examples, loads

from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.report.figures.load_curve import load_curves
from greenbench.report.page.page import page


class Data(HTMLParser):
    """The page's data element."""

    def __init__(self, text):
        super().__init__()
        self.inside, self.text = False, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.inside = tag == "script" and dict(attrs).get("id") == "data"

    def handle_endtag(self, _):
        self.inside = False

    def handle_data(self, data):
        self.text += data if self.inside else ""


def data_of(*records):
    return json.loads(Data(page(groups(records), records, [], assumptions()).decode()).text)


def told(segments):
    return "".join(text for _, text in segments)


def test_runs_without_load_have_nothing_of_it():
    (run,) = data_of(examples.completed())["runs"]
    assert "load" not in run["more"]


def test_the_table_is_the_leaderboards():
    (run,) = data_of(loads.completed(limits=True))["runs"]
    load = run["more"]["load"]
    assert load["titles"][:2] == ["requests/s", "J/request, always-on"]
    assert load["cells"][2][:3] == ["2", "40.8 → 33.0", "0.810× (0.791–0.830)"]
    assert load["cells"][-1][5] == "1210 → unbounded"
    assert load["notes"] == []
    said = [told(line) for line in load["said"]]
    assert said[1].startswith("The winner changes at 2.9 (2.6–3.2) requests/s: below it int4")
    assert told(load["how"][0]).startswith("Always-on counts all joules")


def test_reasons_stand_under_the_table():
    (run,) = data_of(loads.completed(source="unavailable", winner="unknown"))["runs"]
    load = run["more"]["load"]
    assert load["cells"][0][1] == "n/a (a)"
    assert [told(note) for note in load["notes"]] == ["(a) no counter moved"]


def test_every_number_has_its_text_beside_its_value():
    data = data_of(loads.completed())
    at, numbers = data["runs"][0]["more"]["load"]["numbers"][2]
    found = {name: rest for name, *rest in numbers}
    before, _, ratio = found["energy_per_request_j"]
    assert at == "2"
    assert before[0] == 40.76923
    assert before[-1] == "40.8 (39.1–42.4)"
    assert data["strings"][before[4]] == "J/request"
    assert ratio[-1] == "0.810× (0.791–0.830)"
    assert found["queue"][2] is None
    _, saturated = data["runs"][0]["more"]["load"]["numbers"][-1]
    last = {name: rest for name, *rest in saturated}["e2e_p99_s"][1]
    assert last[0] is None
    assert data["strings"][last[6]].startswith("unbounded")


def test_the_picture_is_the_reports():
    record = loads.completed()
    (run,) = data_of(record)["runs"]
    (sketch,) = load_curves(groups([record]))
    assert run["more"]["load"]["figure"] == sketch.draw().decode()
    assert run["more"]["load"]["alt"] == sketch.said
