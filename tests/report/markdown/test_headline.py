"""The first lines: what may be claimed, and in which words."""

from __future__ import annotations

import pytest
from helpers import examples
from hypothesis import given
from hypothesis import strategies as st

from greenbench.analysis.groups.rows import groups
from greenbench.analysis.yardstick import ENERGY, SPEED, helps
from greenbench.report.markdown.choice import surer
from greenbench.report.markdown.headline import answer, no_joules, noise_floor
from greenbench.schema.quantity import Quantity, missing

RATIO = st.floats(0.1, 3)


def only_answer(*records):
    """The answer about the one group that `records` make."""
    (group,) = groups(records)
    return answer(group)


def ratio(value, low, high):
    """A ratio with its interval."""
    return Quantity(value=value, unit="ratio", provenance="measured:clock", n=5, low=low, high=high)


@given(st.lists(RATIO, min_size=3, max_size=3).map(sorted))
def test_a_saving_needs_the_whole_interval_below_1_and_an_effect_above_2_percent(three):
    low, value, high = three
    assert helps(ratio(value, low, high), ENERGY) == (high < 1 and value < 0.98)
    assert helps(ratio(value, low, high), SPEED) == (low > 1 and value > 1.02)


def test_nothing_is_claimed_without_an_interval_or_a_value():
    assert not helps(examples.quantity(0.5, None, "ratio"), ENERGY)
    assert not helps(missing("ratio", "no meter"), ENERGY)


def test_the_answer_names_the_least_energy_within_each_margin():
    first, second = only_answer(
        examples.completed("none", energy=1, gained=0, lost=0),
        examples.completed("int8", energy=0.63, half=0.03, gained=1, lost=2),
        examples.completed("int4", energy=0.41, half=0.02, gained=1, lost=6),
        examples.completed("prune", energy=0.2, gained=0, lost=30),
    )
    assert first.startswith(
        "Within 1 point of the baseline's quality, `int8` uses the least energy"
    )
    assert "**0.63× (0.60–0.66)** the baseline's J/token" in first
    assert "quality −0.5 points (" in first
    assert second.startswith("Within 3 points of the baseline's quality, `int4` uses the least")
    assert "**0.41× (0.39–0.43)**" in second


def test_quality_that_may_be_worse_than_the_margin_is_said_so():
    (first, _) = only_answer(examples.completed(gained=1, lost=2))
    assert "so a loss beyond 1 point is not excluded" in first
    sure = examples.completed(quality=[examples.score("sciq", 3, 0, n=1000)])
    assert "not excluded" not in only_answer(sure)[0]


def test_the_same_technique_is_named_once():
    assert only_answer(examples.completed())[1].endswith("quality: the same.")
    sure = examples.completed(quality=[examples.score("sciq", 3, 9, n=1000)])
    assert only_answer(sure)[1].endswith("the same; a loss beyond 3 points is excluded.")


def test_a_run_that_is_surely_within_the_margin_is_named_beside_one_that_may_not_be():
    unsure = examples.completed("unsure", energy=0.5, gained=1, lost=2)
    sure = examples.completed("sure", energy=0.8, quality=[examples.score("sciq", 9, 0, n=1000)])
    first, _ = only_answer(unsure, sure)
    assert "`unsure` uses the least energy" in first
    assert first.endswith("surely within 1 point: `sure`, 0.80× (0.78–0.82).")
    assert "no run that helps is sure to be within 1 point" in only_answer(unsure)[0]


def test_that_nothing_else_helps_is_said_only_where_it_is_so():
    best, idle = examples.completed("best", energy=0.5), examples.completed("idle", energy=1.0)
    assert only_answer(best, idle)[-1].endswith("Nothing else helps.")
    also = examples.completed("also", energy=0.7)
    assert "Nothing else" not in " ".join(only_answer(best, idle, also))
    assert "Nothing else" not in " ".join(only_answer(idle))


def test_a_rival_whose_interval_overlaps_is_named():
    (first, _) = only_answer(
        examples.completed("one", energy=0.60, half=0.02),
        examples.completed("two", energy=0.63, half=0.02),
        examples.completed("far", energy=0.80, half=0.02),
    )
    assert "not told apart from `two`" in first
    assert "`far`" not in first


@pytest.mark.parametrize("energy", [0.985, 1.0, 1.3])
def test_nothing_helps_is_an_answer(energy):
    first, second = only_answer(examples.completed(energy=energy, half=0.001))
    assert "nothing helps: the nearest, `int8`, is at" in first
    assert second == "Within 3 points of the baseline's quality: the same."


def test_no_technique_within_the_margin_is_an_answer():
    first, second = only_answer(examples.completed(gained=0, lost=4))
    assert "there is none to name" in first
    assert "uses the least energy" in second


def test_a_technique_without_quality_is_not_named():
    first, second = only_answer(examples.completed(quality=[]))
    assert "there is none to name" in first
    assert second.endswith(": the same.")


def test_the_baseline_itself_never_wins():
    lines = only_answer(examples.completed("none", energy=0.5))
    assert lines == ["Only the A/A run is here: add a technique to compare with it."]


def test_an_estimate_is_answered_with_measured_speed():
    preface, first, _ = only_answer(
        examples.completed("fast", energy=0.9, speed=1.4, source=examples.ESTIMATE),
        examples.completed("frugal", energy=0.2, speed=1.1, source=examples.ESTIMATE),
    )
    assert "**estimated**" in preface
    assert "cannot show a saving that latency does not show" in preface
    assert "`fast` is the fastest: **1.40× (1.38–1.42)** the baseline's tokens per second" in first
    assert "energy, only an estimate, ≈0.90× (0.88–0.92)" in first


def test_missing_energy_is_answered_with_speed_and_no_joules():
    preface, first, _ = only_answer(examples.completed(energy=None))
    assert "No joules could be had" in preface
    assert "estimate" not in first
    assert "is the fastest" in first


def test_joules_that_were_counted_are_not_called_none():
    """As where in a block under load no request was answered."""
    counted = examples.completed().windows
    record = examples.completed(energy=None).model_copy(update={"windows": counted})
    (group,) = groups([record])
    preface = no_joules(group.rows)
    assert "No joules could be had" not in preface
    assert "Joules were counted, but not all blocks give those of a token" in preface
    (step, *_) = surer(group)
    assert step.startswith(preface)
    assert "run for longer" in step
    (none,) = groups([examples.completed(energy=None)])
    assert no_joules(none.rows) == "No joules could be had here"


@pytest.mark.parametrize("source", [examples.NVML, examples.ESTIMATE])
def test_smoke_claims_nothing(source):
    text = " ".join(only_answer(examples.completed(tier="smoke", source=source, speed=1.4)))
    assert "Hints, no claims: tier smoke" in text
    for claim in ("uses the least", "is the fastest", "saves", "nothing helps"):
        assert claim not in text


def noise(**changes):
    """The sentence about an A/A run."""
    (group,) = groups([examples.completed("none", gained=0, lost=0, **changes)])
    return noise_floor(group.rows[0])


def test_the_noise_floor_is_what_two_equal_models_differ_by():
    said = noise(energy=1.001, half=0.006, speed=1.0)
    assert "energy 1.001× (0.995–1.007), so less than 0.7 % is noise here" in said
    assert "excludes 1" not in said


def test_a_biased_noise_floor_is_said_to_be_biased():
    assert "which excludes 1" in noise(energy=1.05, half=0.01)
