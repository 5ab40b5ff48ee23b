"""From which batch or prompt on a technique pays: only what the records show."""

from __future__ import annotations

import pytest
from helpers import campaign, examples, loads
from hypothesis import given
from hypothesis import strategies as st

from greenbench.analysis.energy.crossover import AXES, Point, Series, crossings, told
from greenbench.analysis.groups.rows import groups
from greenbench.report.figures.crossover import crossover_curves
from greenbench.report.markdown.sections.crossover import crossover

BATCH, PROMPT, ANSWER, RATE = AXES
STATES = ("pays", "costs", "changes nothing", "not known")


def at(batch=1, prompt=64, **more):
    """A spec's workload."""
    return {"batch_size": batch, "prompt_tokens": prompt, **more}


def runs(name, ratios, axis="batch", **changes):
    """One run of `name` per value of the axis."""
    return [
        campaign.run(name, ratio, workload=at(**{axis: value}), **changes)
        for value, ratio in ratios.items()
    ]


def test_answer_lengths_are_an_axis_of_their_own():
    found = [
        campaign.run("int4", ratio, workload={"output_tokens": length})
        for length, ratio in {16: 0.8, 64: 1.2}.items()
    ]
    (crossing,) = crossings(groups(found))
    assert crossing.axis is ANSWER
    (line,) = crossing.series
    assert told(line, ANSWER) == "pays at answer 16; costs at answer 64."
    assert "out" not in crossing.rest


def test_runs_at_one_rate_each_stand_along_it_with_all_else_that_they_share():
    found = [
        loads.completed(
            "int4", rates=(rate,), ratios=examples.completed("int4", energy=ratio).ratios
        )
        for rate, ratio in {0.5: 0.8, 2.83: 0.9, 8.0: 1.2}.items()
    ]
    (crossing,) = crossings(groups([*found, loads.completed("int4")]))
    assert crossing.axis is RATE
    assert crossing.rest.endswith("64 out, poisson arrivals")
    (line,) = crossing.series
    assert told(line, RATE) == "pays from rate 2.83 down; costs at rate 8."
    assert "rate 2.83" in "\n".join(crossover(groups(found)))
    assert crossover_curves(groups(found))[0].draw().startswith(b"<?xml")


def series(*states):
    """A series with these states at 1, 2, 4, ..."""
    ratio = examples.quantity(1.0, 0.1, "ratio")
    return Series("x", [Point(2**i, ratio, state) for i, state in enumerate(states)])


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        (["pays"] * 4 + ["costs"], "pays from batch 8 down; costs at batch 16."),
        (["costs", "pays", "pays"], "costs at batch 1; pays from batch 2 up."),
        (["pays", "pays"], "pays at every batch measured, 1 to 2."),
        (
            ["not known", "not known"],
            "not known at every batch measured, 1 to 2; it is shown to pay at no batch measured.",
        ),
        (
            ["pays", "not known", "costs"],
            "pays at batch 1; not known at batch 2; costs at batch 4.",
        ),
        (
            ["costs", "pays", "pays", "costs"],
            "costs at batch 1; pays from batch 2 to 4; costs at batch 8.",
        ),
    ],
)
def test_the_sentence_tells_from_where_on(states, sentence):
    assert told(series(*states), BATCH) == sentence


@given(st.lists(st.sampled_from(STATES), min_size=2, max_size=8))
def test_every_state_that_was_seen_is_told_and_no_other(states):
    sentence = told(series(*states), BATCH).partition("; it is shown")[0]
    assert {state for state in STATES if state in sentence} == set(states)


def test_runs_that_differ_in_the_batch_only_make_a_curve_with_its_intervals():
    records = [*runs("int4", {1: 0.5, 8: 0.9, 32: 1.2}), *runs("none", {1: 1.0, 8: 1.0})]
    (found,) = crossings(groups(records))
    assert (found.axis, [s.label for s in found.series]) == (BATCH, ["int4"])
    text = "\n".join(crossover(groups(records)))
    assert "- `int4` pays from batch 8 down; costs at batch 32." in text
    row = next(line for line in text.splitlines() if line.startswith("| `int4`"))
    assert [cell.split()[-1] for cell in row.strip("| ").split(" | ")[1:]] == [
        "pays", "pays", "costs",
    ]  # fmt: skip
    assert row.count("(") == 3
    (sketch,) = crossover_curves(groups(records))
    assert "int4 pays from batch 8 down" in sketch.said
    assert sketch.draw() == sketch.draw()


def test_an_interval_that_holds_1_is_not_known():
    text = "\n".join(crossover(groups(runs("int4", {1: 0.97, 8: 0.6}, spread=0.1))))
    assert "`int4` not known at batch 1; pays at batch 8." in text


def test_prompt_length_is_an_axis_of_its_own():
    records = [*runs("int4", {64: 0.5, 512: 0.9}, "prompt"), *runs("int4", {2: 0.6})]
    assert [found.axis for found in crossings(groups(records))] == [BATCH, PROMPT]


@pytest.mark.parametrize(
    "changes",
    [
        {"workload": at(8, output_tokens=999)},
        {"device": examples.CPU},
        {"tier": "smoke"},
        {"meters": campaign.HOST},
    ],
)
def test_runs_that_differ_in_more_are_not_compared(changes):
    other = campaign.run("int4", 0.9, **{"workload": at(8), **changes})
    assert crossings(groups([campaign.run("int4", 0.5, workload=at(1)), other])) == []


def test_estimates_cross_by_measured_speed():
    records = [
        examples.completed("int4", source=examples.ESTIMATE, speed=speed, workload=at(batch))
        for batch, speed in ((1, 1.5), (8, 0.8))
    ]
    text = "\n".join(crossover(groups(records)))
    assert "tokens per second: joules are estimated" in text
    assert "`int4` pays at batch 1; costs at batch 8." in text


def test_smoke_claims_nothing():
    text = "\n".join(crossover(groups(runs("int4", {1: 0.5, 8: 0.9}, tier="smoke"))))
    assert "tier smoke claims nothing" in text


def test_two_runs_that_disagree_at_one_batch_leave_it_not_known():
    ratio = examples.quantity(1.0, 0.1, "ratio")
    points = [Point(1, ratio, "pays"), Point(1, ratio, "costs"), Point(2, ratio, "pays")]
    assert told(Series("x", points), BATCH) == "not known at batch 1; pays at batch 2."


def test_under_load_a_curve_names_the_load_and_no_batch():
    workload = {"output_tokens": 64}
    runs = [
        loads.completed(rates=(2.0,), workload=workload | {"prompt_tokens": tokens})
        for tokens in (64, 512)
    ]
    (found,) = crossings(groups(runs))
    assert found.title.endswith(", 64 out, poisson arrivals at 2 requests/s")
    assert "batch" not in found.title
