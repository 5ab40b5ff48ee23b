"""What techniques save together, on the page: the leaderboard's table, and the figure in it."""

from __future__ import annotations

import base64
import re

from helpers import examples

from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.report.figures.interactions import interactions_figure
from greenbench.report.page.page import page

SAVED = {"a": 0.7, "b": 0.9, "a + b": 0.68}


def written(saved):
    records = [
        examples.completed(name, energy=ratio, half=0.02 * ratio) for name, ratio in saved.items()
    ]
    found = groups(records)
    return found, page(found, records, [], assumptions()).decode()


def test_the_table_is_the_leaderboards():
    _, text = written(SAVED)
    section = text.partition("<h2>What techniques save together</h2>")[2].partition("<h2>")[0]
    assert "If techniques did not meet, their ratios would multiply." in section
    assert "J/token over the baseline&#x27;s)</caption>" in section
    row = section.partition("<tbody><tr>")[2].partition("</tr>")[0]
    assert '<th scope="row"><code>a + b</code>' in row
    assert 'data-title="how they meet">they overlap</td>' in row
    assert 'data-title="if they did not meet">0.630×' in row


def test_the_figure_is_the_reports_and_stands_in_the_page():
    found, text = written(SAVED)
    (sketch,) = interactions_figure(found)
    alt, drawn = re.findall(
        r'<img class="sketch" alt="([^"]*)" src="data:image/svg\+xml;base64,([^"]*)">', text
    )[0]
    assert base64.b64decode(drawn) == sketch.draw()
    assert "a + b: they overlap" in alt


def test_without_stacks_whose_parts_ran_alone_there_is_no_section():
    _, text = written({"a": 0.7, "a + b": 0.68})
    assert "What techniques save together" not in text
    assert "<img" not in text
