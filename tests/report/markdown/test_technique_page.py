"""The gallery: a page and a figure for each technique that was measured in several settings."""

import re

import pytest
from helpers import campaign

from greenbench import report
from greenbench.analysis.groups.by_technique import by_technique
from greenbench.analysis.groups.rows import groups
from greenbench.report.markdown.technique_page import technique_page


def on(record, device, **changes):
    """The same on another device."""
    spec = record.spec
    other = spec.model_copy(update={"device": spec.device.model_copy(update={"name": device})})
    return record.model_copy(update={"spec": other, **changes})


@pytest.fixture
def several():
    saver, costly = campaign.run("saver", 0.7), campaign.run("saver", 1.4)
    again = on(campaign.run("saver", 1.42), "Another GPU", started_at="2031-01-01T00:00:00+00:00")
    return [saver, on(costly, "Another GPU"), again, campaign.run("alone", 0.9)]


def test_the_page_says_where_it_pays_and_in_how_many_sessions(several):
    found = groups(several)
    page = technique_page(by_technique(found)[0], found)
    assert page.startswith("# `saver` in 2 settings\n")
    assert "On energy: saves in 1, costs in 1." in page
    assert "![`saver`: ratios with 95 % intervals](saver.svg)" in page
    first, second = (line for line in page.splitlines() if line.startswith("| on "))
    assert "| on Another GPU (cuda) " in first
    assert re.search(r"\| 2, the next one \d\.\d\d–\d\.\d\d× +\|", first)
    assert "**saves**" in second
    assert second.rstrip(" |").endswith(" 1")


def test_the_report_has_them_and_links_to_them(several, tmp_path):
    paths = {str(path.relative_to(tmp_path)) for path in report.write(tmp_path, several, [])}
    assert {name for name in paths if name.startswith("gallery/")} == {
        "gallery/saver.md",
        "gallery/saver.svg",
    }
    leaderboard = (tmp_path / "leaderboard.md").read_text()
    assert "## Each technique in all settings" in leaderboard
    assert "[`saver`](gallery/saver.md)" in leaderboard
    assert "(gallery/alone.md)" not in leaderboard
    svg = (tmp_path / "gallery" / "saver.svg").read_text()
    assert "on Another GPU (cuda)" in svg
    assert "tokens/s over the baseline" in svg


def test_where_all_was_measured_in_one_setting_there_is_none_left(several, tmp_path):
    report.write(tmp_path, several, [])
    report.write(tmp_path, several[:1], [])
    assert not list((tmp_path / "gallery").iterdir())
    assert "in all settings" not in (tmp_path / "leaderboard.md").read_text()
