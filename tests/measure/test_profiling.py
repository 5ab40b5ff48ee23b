"""Causes of lost time, told by what a profiler sees of real models in which they were planted."""

from __future__ import annotations

from itertools import chain

import pytest
from helpers.plants import PLANTS, Both

from greenbench.analysis.energy.lost_time import split
from greenbench.engines.engine import Request
from greenbench.errors import Lost
from greenbench.measure.profiling import REPETITIONS, profile
from greenbench.schema.profile import Operation, Trace

BATCH = [Request((1,), 16)]
SOME = ("sleeps", "int8", "objects", "copied in", "by hand")
"""One of each kind of evidence."""


def profiled(pair, *, in_turn=False):
    return profile(pair, BATCH, lambda *_: None, on_host=True, in_turn=in_turn)


def claimed(plant):
    """The causes that the profile of its two models shows, the largest first."""
    found = profiled(plant.pair())
    assert found.reason is None, found.reason
    return [cause.name for cause in split(found, plant.claim).causes]


@pytest.mark.parametrize("name", SOME)
def test_what_was_planted_is_the_largest_cause(name):
    assert {*claimed(PLANTS[name])[:1]} == PLANTS[name].causes


def test_of_two_that_are_the_same_nothing_is_claimed():
    assert claimed(PLANTS["nothing"]) == []


@pytest.mark.slow
def test_of_twenty_planted_causes_nine_in_ten_are_found_and_nine_in_ten_that_are_named_are_right():
    """Precision and recall over all plants; those without a cause count against what is named."""
    pairs = {name: (PLANTS[name].causes, {*claimed(PLANTS[name])}) for name in PLANTS}
    planted, named, right = (
        len(list(chain.from_iterable(each)))
        for each in zip(*((true, said, true & said) for true, said in pairs.values()), strict=True)
    )
    wrong = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    assert planted >= 20
    assert right >= 0.9 * planted, wrong
    assert right >= 0.9 * named, wrong


class Silent:
    """Answers, and gives no trace."""


class Told(Silent):
    """And says why."""

    untraced = "it keeps its operators to itself"


class Broken:
    tool = "a profiler"

    def traced(self, batch):
        raise RuntimeError("no such device in /home/someone/place")


def test_what_gives_no_trace_says_so_and_what_fails_ends_nothing_else():
    said = profiled(Both(Silent(), Silent())).reason
    assert said == "not profiled: what runs the baseline gives no trace"
    said = profiled(Both(Told(), Told())).reason
    assert said == "not profiled: it keeps its operators to itself"
    said = profiled(Both(Broken(), Broken())).reason
    assert said == "the profile failed: RuntimeError: no such device in place"


def test_in_turn_each_model_is_asked_for_once():
    asked = []

    class Noted(Both):
        def use(self, who):
            asked.append(who)
            return super().use(who)

    both = PLANTS["nothing"].pair().each
    found = profiled(Noted(**both), in_turn=True)
    assert asked == ["baseline"] * REPETITIONS + ["candidate"] * REPETITIONS
    assert len(found.baseline.wall_s) == REPETITIONS


class Counted:
    """Takes 2 s for a prompt, and 0.1 s for every token after the first, half of it in Python."""

    tool = "a profiler"

    def __init__(self):
        self.asked = []

    def traced(self, batch):
        (each,) = batch
        more = each.new_tokens - 1
        self.asked.append(each.new_tokens)
        prompt = Operation("aten::mm", ((8, 64), (64, 64)), ("float", "float"), 4, 2.0)
        step = Operation("aten::mm", ((1, 64), (64, 64)), ("float", "float"), 4 * more, 0.05 * more)
        return Trace(2 + 0.1 * more, (prompt, step), 0.05 * more, 0.0, 0.0, 0.0)


def test_what_a_long_answer_takes_is_on_the_line_through_one_token_and_sixteen():
    """Of 101 tokens: 2 s and 100 times 0.1 s."""
    both = Both(Counted(), Counted())
    found = profile(both, [Request((1,), 101)], lambda *_: None, on_host=True, in_turn=False)
    assert {*both.each["baseline"].asked} == {1, 16}
    assert found.tokens == 16
    for side in (found.baseline, found.candidate):
        assert side.wall_s == pytest.approx([12.0] * REPETITIONS)
        assert side.kinds_s["products"] == pytest.approx([7.0] * REPETITIONS)
        assert side.kinds_s["outside operators"] == pytest.approx([5.0] * REPETITIONS)
        assert side.multiplications == 64 * 64 * (4 * 8 + 400)


def test_a_device_that_is_lost_is_not_the_profiles_to_tell():
    class Gone(Broken):
        def traced(self, batch):
            raise Lost("the GPU is gone")

    with pytest.raises(Lost):
        profiled(Both(Gone(), Gone()))
