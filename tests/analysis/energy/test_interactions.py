"""What techniques save together beside what each saves alone."""

from __future__ import annotations

from itertools import combinations
from math import exp, log, prod

import numpy as np
import pytest
from helpers import examples
from scipy import stats

from greenbench.analysis.energy.interactions import interactions
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.impact import assumptions
from greenbench.report.figures.interactions import interactions_figure
from greenbench.report.markdown.interactions import together
from greenbench.report.markdown.leaderboard import leaderboard


def group_of(**ratios):
    """Runs by their techniques' letters, as ``ab`` for the stack of both."""
    runs = [
        examples.completed(" + ".join(letters), energy=ratio, half=0.02 * ratio)
        for letters, ratio in ratios.items()
    ]
    (found,) = groups([*runs, examples.completed("none", energy=1.0)])
    return found


def test_two_that_pay_for_the_same_bytes_overlap():
    """30 % and 10 % are 37 % if they do not meet; together they save 32."""
    (stack,) = interactions(group_of(a=0.7, b=0.9, ab=0.68))
    assert stack.parts == ("a", "b")
    assert stack.product.value == pytest.approx(0.63)
    assert stack.meeting.value == pytest.approx(0.68 / 0.63)
    assert stack.meeting.n == 5
    assert stack.word == "they overlap"
    assert stack.shares["a"].value == pytest.approx(0.7 * (0.68 / 0.63) ** 0.5)
    assert prod(share.value for share in stack.shares.values()) == pytest.approx(0.68)
    assert stack.meeting.provenance == stack.row.ratio(stack.yardstick.metric).provenance


def test_two_that_help_each_other_and_two_that_are_not_told():
    (stack,) = interactions(group_of(a=0.9, b=0.9, ab=0.5))
    assert stack.word == "they help each other"
    (stack,) = interactions(group_of(a=0.9, b=0.9, ab=0.82))
    assert stack.word == "no interaction shown"


EFFECTS = {"a": -0.35, "b": -0.1, "c": -0.05, "ab": 0.08, "ac": 0.0, "bc": 0.03, "abc": 0.0}
RUNS = {name: examples.completed(" + ".join(name), energy=0.7, half=0.01) for name in EFFECTS}


def seen(name, dice):
    """A run of five blocks around what is planted, with the interval of their logarithms."""
    planted = sum(effect for some, effect in EFFECTS.items() if set(some) <= set(name))
    blocks = dice.normal(planted, 0.02, 5)
    half = stats.t.ppf(0.975, 4) * blocks.std(ddof=1) / 5**0.5
    value, low, high = np.exp([blocks.mean(), blocks.mean() - half, blocks.mean() + half])
    ratio = RUNS[name].ratios["energy_per_token"]
    found = ratio.model_copy(update={"value": value, "low": low, "high": high})
    ratios = RUNS[name].ratios | {"energy_per_token": found}
    return RUNS[name].model_copy(update={"ratios": ratios})


def test_of_planted_effects_the_intervals_hold_the_truth_as_often_as_they_say():
    """Meetings, interactions and shares of whole groups of runs."""
    dice = np.random.default_rng(12)
    hits, off = [], []
    for _ in range(100):
        (group,) = groups([seen(name, dice) for name in EFFECTS])
        whole = next(stack for stack in interactions(group) if len(stack.parts) == 3)
        told = [(found, EFFECTS["".join(sorted(some))]) for some, found in whole.effects.items()]
        told += [
            (share, sum(e / len(some) for some, e in EFFECTS.items() if part in some))
            for part, share in whole.shares.items()
        ]
        told.append((whole.meeting, sum(e for some, e in EFFECTS.items() if len(some) > 1)))
        hits += [found.low <= exp(truth) <= found.high for found, truth in told]
        off.append([log(found.value) - truth for found, truth in told])
    assert 0.93 <= np.mean(hits) <= 0.975
    assert np.all(np.abs(np.mean(off, axis=0)) < 4 * np.std(off, axis=0) / 100**0.5)


def test_what_may_claim_nothing_is_a_hint_and_two_percent_are_none():
    runs = [
        examples.completed(name, energy=ratio, half=0.01, tier="smoke")
        for name, ratio in {"a": 0.7, "b": 0.9, "a + b": 0.75}.items()
    ]
    (stack,) = interactions(groups(runs)[0])
    assert stack.word == "they overlap, a hint"
    exact = [
        examples.completed(name, energy=ratio, half=0.0005)
        for name, ratio in {"a": 0.7, "b": 0.9, "a + b": 0.638}.items()
    ]
    (stack,) = interactions(groups(exact)[0])
    assert stack.p < 0.01
    assert stack.word == "no interaction shown"


def test_many_stacks_are_corrected_together():
    single = dict.fromkeys("abcd", 0.9)
    pairs = {one + other: 0.81 for one, other in combinations("abcd", 2)} | {"ab": 0.857}
    alone, among = (
        interactions(group_of(a=0.9, b=0.9, ab=0.857)),
        interactions(group_of(**single, **pairs)),
    )
    assert alone[0].p < 0.05
    assert among[0].p == pytest.approx(6 * alone[0].p, rel=0.01)


def test_where_pairs_do_not_explain_the_whole_there_are_no_shares():
    """Six pairs and the whole of four, which is far from what pairs say."""
    single = dict.fromkeys("abcd", 0.9)
    pairs = {one + other: 0.81 for one, other in combinations("abcd", 2)}
    whole = interactions(group_of(**single, **pairs, abcd=0.3))[1]
    assert whole.row.label == "a + b + c + d"
    assert (whole.order, whole.shares) == (2, {})
    assert len(whole.effects) == 6
    held = interactions(group_of(**single, **pairs, abcd=0.9**4))[1]
    assert prod(share.value for share in held.shares.values()) == pytest.approx(0.9**4)


def test_by_speed_more_is_better():
    runs = [
        examples.completed(name, energy=None, speed=speed, half=0.02)
        for name, speed in {"a": 1.5, "b": 1.2, "a + b": 1.5, "none": 1.0}.items()
    ]
    (stack,) = interactions(groups(runs)[0])
    assert stack.word == "they overlap"
    assert stack.meeting.value == pytest.approx(1.5 / 1.8)


def test_a_stack_whose_parts_were_not_measured_alone_has_no_line():
    assert interactions(group_of(a=0.7, ab=0.68)) == []
    assert interactions(group_of(a=0.7, b=0.9)) == []
    assert together([group_of(a=0.7)]) == []
    assert interactions_figure([group_of(a=0.7)]) == []


def test_of_three_the_pairs_are_told_where_they_were_measured():
    single = {"a": 0.8, "b": 0.9, "c": 0.95}
    (alone,) = interactions(group_of(**single, abc=0.7))
    assert (alone.order, alone.shares) == (1, {})
    assert alone.meeting.value == pytest.approx(0.7 / prod(single.values()))
    found = interactions(group_of(**single, ab=0.75, ac=0.76, bc=0.85, abc=0.7))
    assert [stack.row.label for stack in found] == ["a + b", "a + b + c", "a + c", "b + c"]
    whole = found[1]
    assert whole.order == 3
    assert prod(share.value for share in whole.shares.values()) == pytest.approx(0.7)
    pair = whole.effects[frozenset("ab")]
    assert pair.value == pytest.approx(0.75 / 0.72)


def test_it_is_in_the_leaderboard_with_its_figure():
    group = group_of(a=0.7, b=0.9, ab=0.68)
    (sketch,) = interactions_figure([group])
    assert "a + b: they overlap" in sketch.said
    assert "share of a" in sketch.said
    assert sketch.draw().startswith(b"<?xml")
    records = [row.record for row in group.rows]
    text = leaderboard([group], records, [], assumptions(), [sketch])
    section = text.partition("## What techniques save together")[2].partition("\n## ")[0]
    assert "| `a + b`" in section
    assert "they overlap" in section
    assert "figures/interactions.svg" in section
