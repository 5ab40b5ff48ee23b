"""What to choose: the best run for each loss that a reader may accept."""

from __future__ import annotations

from helpers import campaign, examples

from greenbench.analysis.choices.picks import choice, is_claimed, is_shown, may_claim
from greenbench.analysis.groups.rows import groups
from greenbench.analysis.yardstick import ENERGY, SPEED

SURE = {"quality": [examples.score("sciq", 0, 0, n=4000)]}


def of(*records):
    """The choice in the one group that `records` make."""
    (group,) = groups(records)
    return choice(group)


def lossless(name, energy):
    record = examples.completed(name, energy=energy, gained=0, lost=0)
    parts = [part.model_copy(update={"lossless": True}) for part in record.techniques]
    return record.model_copy(update={"techniques": parts})


def told(found):
    return [(pick.losses, pick.row.label) for pick in found.picks]


def test_each_loss_has_the_best_of_those_that_lose_no_more():
    found = of(
        examples.completed("none", energy=1.0, half=0.01),
        lossless("drafts", 0.9),
        examples.completed("int8", energy=0.8, gained=0, lost=2),
        examples.completed("int4", energy=0.6, gained=0, lost=5),
        examples.completed("prune", energy=0.3, gained=0, lost=40),
    )
    assert told(found) == [
        ((0.0,), "drafts"),
        ((1.0,), "int8"),
        ((3.0,), "int4"),
        ((None,), "prune"),
    ]


def test_a_run_that_is_the_best_for_several_losses_stands_once():
    found = of(lossless("drafts", 0.5), examples.completed("int8", energy=0.8, gained=0, lost=2))
    assert told(found) == [((0.0, 1.0, 3.0, None), "drafts")]


def test_what_costs_and_what_is_noise_are_told_apart():
    found = of(
        examples.completed("slower", energy=1.4, half=0.1),
        examples.completed("tiny", energy=0.99, half=0.005),
        examples.completed("unsure", energy=0.9, half=0.2),
    )
    assert not found.picks
    assert [row.label for row in found.worse] == ["slower"]
    assert sorted(row.label for row in found.same) == ["tiny", "unsure"]


def test_a_loss_is_excluded_only_by_the_whole_interval():
    (unsure,) = of(examples.completed("int8", gained=1, lost=2)).picks
    assert not unsure.within
    (sure,) = of(examples.completed("int8", **SURE)).picks
    assert sure.within


def test_rivals_are_those_whose_intervals_overlap():
    found = of(
        examples.completed("best", energy=0.5, half=0.1, gained=0, lost=0),
        examples.completed("close", energy=0.55, half=0.1, gained=0, lost=0),
        examples.completed("far", energy=0.9, half=0.02, gained=0, lost=0),
    )
    assert [row.label for row in found.picks[0].rivals] == ["close"]


def test_of_estimates_the_fastest_is_chosen_whatever_its_joules():
    known = {"source": examples.ESTIMATE, "device": examples.CPU, "half": 0.02}
    found = of(
        examples.completed("frugal", energy=0.5, speed=1.1, **known),
        examples.completed("fast", energy=0.9, speed=1.5, **known),
    )
    assert found.yardstick is SPEED
    assert found.picks[0].row.label == "fast"


def test_where_no_verdict_may_be_given_a_saving_is_a_hint():
    (group,) = groups(campaign.group())
    assert may_claim(group, ENERGY)
    assert all(is_claimed(row, ENERGY) for row in group.rows if row.verdicts)
    (early,) = groups([examples.completed("int8", tier="smoke")])
    assert not may_claim(early, ENERGY)
    assert choice(early).picks[0].row.label == "int8"


def test_what_is_clear_of_1_but_not_among_so_many_is_a_hint_and_stands_behind_what_is_shown():
    """To be told to change nothing is worse advice than to be told what to try."""
    beside = [campaign.run(f"same{number}", 1.0, spread=0.05) for number in range(12)]
    found = of(campaign.run("hint", 0.93, spread=0.075, gained=0, lost=0), *beside)
    (pick,) = [pick for pick in found.picks if pick.row.label == "hint"]
    assert pick.row.verdicts[ENERGY.metric.ratio].verdict == "inconclusive"
    assert is_claimed(pick.row, ENERGY)
    assert not is_shown(pick.row, ENERGY)
    firm = of(
        campaign.run("hint", 0.93, spread=0.075, gained=0, lost=0),
        campaign.run("firm", 0.96, spread=0.004, gained=0, lost=0),
        *beside,
    )
    assert [pick.row.label for pick in firm.picks] == ["firm"]
