"""Energy labels: fixed bands, and every reason to withhold one."""

import xml.etree.ElementTree as ET

import pytest
from helpers import examples

from greenbench import report
from greenbench.analysis.energy.energy_label import BANDS, band, label
from greenbench.analysis.groups.rows import Row
from greenbench.report.figures.energy_label import svg


def row(**changes):
    defaults = {"energy": 0.6, "half": 0.01, "gained": 0, "lost": 0}
    return Row(examples.completed(**(defaults | changes)), "int8")


def test_bands_are_those_of_version_1():
    assert [band(upper) for _, upper in BANDS] == list("ABCDEF")
    assert [band(upper + 1e-9) for _, upper in BANDS] == list("BCDEFG")


def test_a_clear_saving_gets_its_letter():
    assert label(row()).letter == "C"
    assert label(row(energy=0.3)).letter == "A"
    assert label(row(energy=2.0)).letter == "G"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"energy": 0.55, "half": 0.05}, "spans B and C"),
        ({"source": examples.ESTIMATE}, "estimated"),
        ({"tier": "smoke"}, "tier smoke"),
        ({"lost": 20}, "points of quality"),
        ({"energy": None}, "no interval"),
        ({"validity": "invalid"}, "invalid"),
    ],
)
def test_a_label_is_withheld_with_its_reason(changes, why):
    found = label(row(**changes))
    assert found.letter == ""
    assert why in found.reason


def test_the_picture_is_sound_and_says_itself():
    hostile = Row(examples.completed(energy=0.6, half=0.01), '<script>"x"</script>')
    for one in (row(), row(tier="smoke"), hostile):
        tree = ET.fromstring(svg(one))
        assert "energy label" in tree.attrib["aria-label"]
        assert not [element for element in tree.iter() if element.tag.endswith("script")]


def test_the_report_keeps_the_pictures_of_labelled_runs_and_links_them(tmp_path):
    records = [
        examples.completed(energy=0.6, half=0.01, gained=0, lost=0),
        examples.completed("wild", energy=0.6, half=0.3, gained=0, lost=0),
    ]
    report.write(tmp_path, records, [])
    (picture,) = (tmp_path / "labels").iterdir()
    assert picture.name == f"{records[0].key}.svg"
    assert f"![energy label C](labels/{picture.name})" in (tmp_path / "leaderboard.md").read_text()
