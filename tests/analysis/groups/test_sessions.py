"""Runs measured in several sessions: one row, whose doubt is that between them."""

from math import log

import pytest
from helpers import campaign
from scipy import stats

from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.report.markdown.leaderboard import leaderboard
from greenbench.schema.metrics import ENERGY_PER_TOKEN, MODEL_BYTES

RATIOS = [0.70, 0.78, 0.74]


def sessions(name, ratios, tier="dev", **changes):
    """A run that shows each of `ratios` in a session of its own, a day after the one before."""
    found = []
    for number, ratio in enumerate(ratios, start=1):
        record = campaign.run(name, ratio, tier=tier, **changes)
        spec = record.spec.model_copy(update={"session": number})
        later = f"2026-01-0{number}T00:00:00Z"
        found.append(record.model_copy(update={"spec": spec, "started_at": later}))
    return found


def row(records, label):
    (group,) = groups(records)
    return next(row for row in group.rows if row.label == label)


def test_sessions_of_a_run_are_one_row_whose_interval_is_that_between_them():
    found = row([*sessions("int8", RATIOS), campaign.run("none", 1.0)], "int8")
    ratio = found.ratio(ENERGY_PER_TOKEN)
    logs = [log(each.ratios["energy_per_token"].value) for each in found.sessions]
    plain = stats.t.interval(0.95, 2, loc=sum(logs) / 3, scale=stats.sem(logs))
    assert [log(end) for end in ratio.bounds] == pytest.approx(plain)
    assert ratio.n == 3
    inside = found.sessions[0].ratios["energy_per_token"].bounds
    assert ratio.bounds[0] < inside[0] < inside[1] < ratio.bounds[1]
    assert found.ratio(MODEL_BYTES).value == found.sessions[0].ratios["model_bytes"].value


def test_its_verdict_rests_on_the_sessions():
    """Each shows a saving; that they differ by so much leaves the next one open."""
    wide = [0.80, 0.97, 0.90]
    each = [
        row([record], "int8").verdicts["energy_per_token"].verdict
        for record in sessions("int8", wide)
    ]
    assert each == ["saves"] * 3
    verdict = row(sessions("int8", wide), "int8").verdicts["energy_per_token"]
    assert (verdict.verdict, verdict.method, verdict.n) == ("inconclusive", "sessions", 3)
    assert row(sessions("int8", RATIOS), "int8").verdicts["energy_per_token"].verdict == "saves"


def test_its_place_on_the_frontier_is_drawn_from_the_sessions():
    """Beside a run that is 5 % behind, one session is sure to be ahead, and several that differ are not."""
    rival = campaign.run("rival", 0.78)
    sure = row([sessions("int8", [0.74])[0], rival], "int8").standing.probability
    unsure = row([*sessions("int8", RATIOS), rival], "int8").standing.probability
    assert unsure < sure


def test_two_records_of_one_moment_are_no_sessions():
    """Somebody has changed one of them."""
    one, two = (campaign.run("saver", ratio) for ratio in (0.5, 0.6))
    (group,) = groups([one, two.model_copy(update={"environment": {"machine": "b"}})])
    assert len(group.rows) == 2


def test_sessions_that_begin_together_on_several_machines_are_sessions():
    """As those of a cluster do, to the second that records keep."""
    each = [record.model_copy(update={"started_at": "2026-01-01T00:00:00Z"})
            for record in sessions("int8", RATIOS)]  # fmt: skip
    assert len(row(each, "int8").sessions) == 3


def test_runs_of_other_knobs_are_no_sessions():
    one, two = sessions("int8", [0.7, 0.71])
    spec = two.spec.model_copy(update={"seed": 7})
    (group,) = groups([one, two.model_copy(update={"spec": spec})])
    assert len(group.rows) == 2


def test_the_leaderboard_says_how_many_sessions_there_are_and_what_the_next_will_show():
    text = leaderboard(
        groups(sessions("int8", RATIOS)), sessions("int8", RATIOS), [], assumptions(), []
    )
    assert "Tier dev, 3 sessions. " in text
    (line,) = [
        each for each in text.splitlines() if each.startswith("| `int8`") and "0.780" in each
    ]
    assert " | 3 " in line
    one = sessions("int8", [0.7], tier="publish")
    assert "Tier publish, one session. " in leaderboard(groups(one), one, [], assumptions(), [])
