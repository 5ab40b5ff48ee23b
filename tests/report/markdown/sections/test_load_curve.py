"""Under load: a short table and its sentences, with what is missing or unbounded said so."""

from __future__ import annotations

import pytest
from helpers import examples, loads
from helpers.load_windows import serve
from markdown_it import MarkdownIt

from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.report.figures import sketches
from greenbench.report.markdown.leaderboard import leaderboard
from greenbench.report.markdown.sections.load_curve import under_load
from greenbench.schema.quantity import missing

HOSTILE = "a|b\n<script>alert(1)</script> [x](javascript:alert(1)) `c` **b** http://evil.example"


def said(*records):
    return under_load([row for group in groups(records) for row in group.rows])


def cells(lines):
    rows = [line for line in lines if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]


def with_curve(record, **changes):
    """The record with parts of its curve replaced."""
    return record.model_copy(update={"load": record.load.model_copy(update=changes)})


def test_runs_without_load_have_no_such_section():
    records = [examples.completed()]
    assert said(*records) == []
    found = groups(records)
    text = leaderboard(found, records, [], assumptions(), sketches(found, records))
    assert "Under load" not in text


def test_the_leaderboard_has_it_once_with_each_runs_table_and_picture():
    records = [loads.completed(), loads.completed("int8"), examples.completed()]
    found = groups(records)
    text = leaderboard(found, records, [], assumptions(), sketches(found, records))
    assert text.count("**Under load**") == 1
    assert text.count("**Always-on** counts") == 1
    for record in records[:2]:
        assert f"](loads/{record.key}.svg)" in text


def test_a_row_holds_both_sides_and_their_paired_ratios():
    """At 2/s: 40 J x 1/1.3 and 20 W over 2/s; 18 J x 1.28 and the same idle power."""
    titles, *rows = cells(said(loads.completed()))
    assert titles == [
        "requests/s", "J/request, always-on", "ratio", "marginal", "marginal ratio", "end to end p50, s",
        "p99, s",
    ]  # fmt: skip
    assert [row[0] for row in rows] == ["0.5", "1", "**2**", "4", "8"]
    assert rows[2][1] == f"{40 / 1.3 + 10:.1f} → {18 * 1.28 + 10:.1f}"
    assert rows[2][2].startswith(f"{(18 * 1.28 + 10) / (40 / 1.3 + 10):.3f}×")
    assert rows[2][3] == f"{40 / 1.3:.1f} → {18 * 1.28:.1f}"
    assert rows[2][4].startswith(f"{18 * 1.28 / (40 / 1.3):.3f}×")
    assert max(map(len, said(loads.completed())[8:14])) < 140


def test_a_saturated_side_is_unbounded_where_it_is_and_named():
    lines = said(loads.completed())
    last = cells(lines)[-1]
    assert last[5].endswith("→ unbounded")
    assert last[6].endswith("→ unbounded")
    assert not any("unbounded" in cell for row in cells(lines)[1:-1] for cell in row)
    assert "- Saturated: `int4` at 8 requests/s. " in "\n".join(lines)


def test_with_limits_it_shows_what_they_limit_and_energy_at_equal_service():
    text = "\n".join(said(loads.completed(limits=True)))
    titles = cells(text.splitlines())[0]
    assert titles[-3:] == [
        "first token p99, ms",
        "later tokens, request means, p99, ms",
        "within limits, %",
    ]
    assert (
        "The most served within the limits (first token 800 ms, later tokens 40 ms, 90 % of "
        "requests), of the loads measured: the baseline 8 (8–16) requests/s at 20.7 (19.9–21.5) "
        "J/request; `int4` 4 (4–8) requests/s at 33.1 (31.8–34.4) J/request." in text
    )


def test_a_model_that_keeps_the_limits_nowhere_says_why():
    record = loads.completed(limits=True)
    never = missing("request/s", "the limits are not kept at the smallest measured load already")
    most = record.load.capacity["candidate"].model_copy(update={"load": never})
    capacity = record.load.capacity | {"candidate": most}
    text = "\n".join(said(with_curve(record, capacity=capacity)))
    assert "; `int4` none (the limits are not kept at the smallest measured load already)." in text


@pytest.mark.parametrize(
    ("winner", "sentence"),
    [
        (
            "crosses",
            "The winner changes at 2.9 (2.6–3.2) requests/s: below it `int4` takes less energy per "
            "request, above it the baseline.",
        ),
        ("candidate", "No crossing is shown: the candidate takes less at every measured load."),
        (
            "unknown",
            "No crossing is shown: at no two loads is the one shown to take less, and then the other.",
        ),
    ],
)
def test_the_crossing_or_its_absence(winner, sentence):
    assert f"- {sentence}" in said(loads.completed(winner=winner))


def test_of_several_crossings_it_says_that_there_are_more():
    record = loads.completed()
    load = record.load.crossing.load.model_copy(update={"reason": "the first of 2"})
    crossing = record.load.crossing.model_copy(update={"load": load})
    text = "\n".join(said(with_curve(record, crossing=crossing)))
    assert "changes at 2.9 (2.6–3.2) requests/s (the first of 2): below it" in text


def test_estimates_are_marked_wherever_joules_are():
    lines = said(loads.completed(winner="candidate", source=examples.ESTIMATE))
    for row in cells(lines)[1:]:
        joules = [*row[1].split(" → "), *row[3].split(" → ")]
        assert all(cell.startswith("≈") for cell in (*joules, row[2], row[4]))
        assert "≈" not in row[5] + row[6]
    assert "- No crossing is shown (≈): the candidate takes less at every measured load." in lines


def test_no_joules_have_their_reason_once():
    lines = said(loads.completed(winner="unknown", source="unavailable"))
    assert cells(lines)[1][1:5] == ["n/a (a)"] * 4
    assert "- (a) no counter moved" in lines


def test_too_few_requests_for_a_p99_show_p90_and_say_so():
    lines = said(loads.completed(few=True))
    assert cells(lines)[0][-1] == "p90, s"
    assert (
        "- No p99 at every load: 60 requests are too few: the 99th percentile needs 100." in lines
    )
    assert not any(line.startswith("- No p99") for line in said(loads.completed()))


def test_a_percentile_that_all_loads_have_is_shown_rather_than_one_that_some_have():
    record, other = loads.completed(limits=True), loads.completed(limits=True, few=True)
    points = [other.load.points[0], *record.load.points[1:]]
    titles = cells(said(with_curve(record, points=points)))[0]
    assert titles[-3:-1] == ["first token p90, ms", "later tokens, request means, p90, ms"]


def test_what_only_a_load_is_flagged_for_is_explained():
    codes = ["failed_requests", "late_sends", "short_against_queue", "other_load"]
    text = "\n".join(said(loads.completed(validity="flagged", codes=codes)))
    assert "`int4` ⚑:" in text
    assert "⚑ `failed_requests`: over 5 % of the requests failed" in text
    assert "⚑ `late_sends`: requests were sent late" in text
    assert "⚑ `short_against_queue`: the windows are shorter" in text
    assert "`other_load`" not in text


def test_requests_that_were_cut_are_told():
    """Of the windows in which it was counted."""
    served = {"due": 40, "cut": 3}, {"due": 1000, "cut": 0}, {"due": 7, "cut": None}
    windows = [serve("baseline", block, 2.0, **each) for block, each in enumerate(served)]
    record = loads.completed().model_copy(update={"windows": windows})
    (line,) = [line for line in said(record) if "were cut" in line]
    assert line.startswith("- 3 of 1,040 requests were longer or shorter")
    assert not any("were cut" in line for line in said(loads.completed()))


def test_requests_without_a_whole_answer_are_told_by_model_and_load():
    lost = {(2.0, "baseline"): {"failed": 3}, (4.0, "baseline"): {"failed": 1, "unfinished": 1200}}
    windows = [
        serve(who, block, load, **{"due": 1000, **lost.get((load, who), {})})
        for load in (1.0, 2.0, 4.0)
        for block in range(2)
        for who in ("baseline", "candidate")
    ]
    record = loads.completed().model_copy(update={"windows": windows})
    (line,) = [line for line in said(record) if "without a whole answer" in line]
    assert line == (
        "- Requests without a whole answer: the baseline 8 failed and 2,400 given up on, of 4,000 at 2, 4 "
        "requests/s."
    )


def test_users_are_called_so():
    record = loads.completed(
        rates=(1.0, 8.0), load={"arrivals": "concurrent", "rate": None, "concurrency": [1, 8]}
    )
    text = "\n".join(said(with_curve(record, unit="users")))
    assert "| users" in text
    assert "chosen before anything was measured" in text
    assert "at 8 users" in text
    assert "requests/s" not in text.partition("![")[0]


def test_hostile_strings_stay_text():
    record = loads.completed(name=HOSTILE, winner="unknown")
    reason = record.load.crossing.load.model_copy(update={"reason": f"not shown: {HOSTILE}"})
    crossing = record.load.crossing.model_copy(update={"load": reason})
    text = "\n".join(said(with_curve(record, crossing=crossing)))
    kinds = {
        part.type
        for token in MarkdownIt("commonmark").enable("table").parse(text)
        for part in [token, *(token.children or [])]
    }
    assert not {"html_inline", "html_block", "link_open"} & kinds
