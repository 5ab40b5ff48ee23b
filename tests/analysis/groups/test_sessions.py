"""Runs measured in several sessions: one row, whose doubt is that between them."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from helpers import campaign
from scipy import stats

from greenbench.analysis.choices.advice import advise
from greenbench.analysis.choices.needs import needs
from greenbench.analysis.energy.per_request import NO_JOULES, SHARED, request_ratio, saving
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.models.keys import run_key
from greenbench.report.markdown.leaderboard import leaderboard
from greenbench.schema.metrics import ENERGY_PER_TOKEN, MODEL_BYTES
from greenbench.schema.resolved import Inputs

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


def test_its_levels_are_of_the_mean_session_too():
    found = row(sessions("int8", RATIOS), "int8")
    each = [session.candidate.metrics["energy_per_token_j"].value for session in found.sessions]
    assert found.energy.value == pytest.approx(stats.gmean(each))
    assert found.energy.n == 3
    plain = stats.t.interval(0.95, 2, loc=log(stats.gmean(each)), scale=stats.sem(np.log(each)))
    assert [log(end) for end in found.energy.bounds] == pytest.approx(plain)


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


def changed(record, **spec):
    """The same of another spec, under the key of that."""
    other = record.spec.model_copy(update=spec)
    return record.model_copy(update={"spec": other, "key": run_key(other)})


def test_runs_of_other_knobs_or_threads_are_no_sessions():
    one, two = sessions("int8", [0.7, 0.71])
    (part,) = two.spec.technique
    knobs = changed(two, technique=[part.model_copy(update={"bits": 4})])
    threads = changed(two, inputs=inputs(threads="2"))
    for other in (knobs, threads):
        (group,) = groups([changed(one, inputs=inputs(threads="1")), other])
        assert len(group.rows) == 2


def inputs(**machine):
    read = {"model": "m", "text": "t", "tasks": {}, "packages": {"torch": "2.9"}, "plugins": {}}
    return Inputs(**read, machine=machine)


def test_two_records_of_one_technique_that_contradict_each_other_are_one_row_and_no_advice():
    """Of another seed, day and driver: the luckier one is not the truth."""
    here = [changed(record, seed=seed, inputs=inputs(driver=str(seed))) for seed, record in enumerate(
        sessions("int8", [0.6, 1.3]), start=1
    )]  # fmt: skip
    found = row(here, "int8")
    assert len(found.sessions) == 2
    assert found.verdicts["energy_per_token"].verdict == "inconclusive"
    (advice,) = advise(here, needs({}), assumptions())
    assert advice.answer == "not enough evidence"
    assert advice.best is None
    (step,) = advice.steps
    assert "sessions=4" in step.command
    alone = advise(here[:1], needs({"quality_loss": "9"}), assumptions())
    assert alone[0].answer == "recommended"


def test_what_a_request_saves_is_of_the_mean_session_too():
    """300 J of the baseline: 90, 66 and 78 J less in three sessions, at no less time."""
    found = row(sessions("int8", RATIOS, spread=0.0), "int8")
    ratio, joules = request_ratio(found), saving(found, SHARED)
    assert log(ratio.value) == pytest.approx(sum(map(log, RATIOS)) / 3)
    assert (joules.value, joules.n) == (pytest.approx(78), 3)
    half = stats.t.ppf(0.975, 2) * stats.sem([90, 66, 78])
    assert joules.bounds == pytest.approx((78 - half, 78 + half))
    gone = found.sessions[1].model_copy(update={"windows": []})
    assert saving(replace(found, sessions=(found.sessions[0], gone)), SHARED).reason == NO_JOULES


def test_the_leaderboard_says_how_many_sessions_there_are_and_what_the_next_will_show():
    text = leaderboard(
        groups(sessions("int8", RATIOS)), sessions("int8", RATIOS), [], assumptions(), []
    )
    assert "Tier dev, 3 sessions. " in text
    (line,) = [
        each for each in text.splitlines() if each.startswith("| `int8`") and "0.780" in each
    ]
    assert " | 3 " in line
    for tier, said in (
        ("publish", ", one session: its 95 % are of that one. "),
        ("dev", ", one session: its 95 % are of that one. "),
        ("smoke", ". "),
    ):
        one = sessions("int8", [0.7], tier=tier)
        text = leaderboard(groups(one), one, [], assumptions(), [])
        assert f"Tier {tier}{said}" in text
