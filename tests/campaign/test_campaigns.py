"""Simulated campaigns: what the design's intervals and verdicts do under real kinds of trouble.

A campaign is one run: 32 windows in a row while the machine drifts, a neighbour comes and goes, or
the chip heats up. The blocked design orders its windows with the product's own schedule; the
sequential one measures all of the baseline, then all of the candidate, on the same disturbance.
"""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from greenbench.analysis.verdicts import judge
from greenbench.measure.schedule import schedule
from greenbench.stats.intervals import p_difference, paired_ratio

TRUTH = 0.8
BLOCKS, CELLS = 8, 4
WINDOWS = BLOCKS * CELLS
CAMPAIGNS = 2000
NOISE = 0.01  # per window, relative


def drift(dice):
    """Power creeps up by 0 to 20 % over the run."""
    return dice.uniform(0, 0.2) * np.arange(WINDOWS) / WINDOWS


def neighbour(dice, percent=None):
    """Another job adds 0 to 10 % for half of each period, which is half a run to two runs long."""
    added = dice.uniform(0, 0.1) if percent is None else percent / 100
    moments = np.arange(WINDOWS * 20) / 20  # a window holds the average over its 20 moments
    busy = (moments / dice.uniform(WINDOWS / 2, 2 * WINDOWS) + dice.uniform()) % 1 < 0.5
    return added * busy.reshape(WINDOWS, 20).mean(axis=1)


def thermal_ramp(dice):
    """Power rises by 15 % as the chip warms up, with a time constant of a fifth to half a run."""
    return 0.15 * (1 - np.exp(-np.arange(WINDOWS) / (WINDOWS * dice.uniform(0.2, 0.5))))


def blocked_places(seed, blocks=BLOCKS):
    """Window numbers of baseline and candidate ``generate`` per block, as the product orders them."""
    order = schedule(blocks, seed)
    return [
        [
            CELLS * block + cells.index((who, ("generate", None)))
            for block, cells in enumerate(order)
        ]
        for who in ("baseline", "candidate")
    ]


def measured(dice, disturbance, places, truth):
    """Joules per token of each side, per block."""
    noise = dice.normal(0, NOISE, (2, len(places[0])))
    logs = np.log1p(disturbance[np.array(places)]) + noise
    return np.exp(logs[0]), truth * np.exp(logs[1])


def welch_covers(baseline, candidate):
    """What the sequential design would do: an unpaired interval of the logs, Welch's."""
    found = stats.ttest_ind(np.log(candidate), np.log(baseline), axis=1, equal_var=False)
    interval = found.confidence_interval(0.95)
    return (interval.low <= math.log(TRUTH)) & (math.log(TRUTH) <= interval.high)


@pytest.mark.parametrize("trouble", [drift, neighbour, thermal_ramp])
def test_randomized_blocks_cover_the_truth_where_one_after_the_other_does_not(trouble):
    dice = np.random.default_rng(3)
    halves = np.arange(1, WINDOWS, 2).reshape(2, BLOCKS)  # generate follows prefill
    covered, sequential = 0, []
    for seed in range(CAMPAIGNS):
        disturbance = trouble(dice)
        found = paired_ratio(*measured(dice, disturbance, blocked_places(seed), TRUTH))
        covered += found.low <= TRUTH <= found.high
        sequential.append(measured(dice, disturbance, halves, TRUTH))
    assert 0.93 <= covered / CAMPAIGNS <= 0.97
    assert welch_covers(*np.swapaxes(sequential, 0, 1)).mean() < 0.90


def test_a_neighbour_far_above_the_noise_makes_the_interval_wide_and_not_wrong():
    """Ten times the noise, on or off: one or two blocks hold it all, and t errs on the safe side."""
    dice, covered = np.random.default_rng(6), 0
    for seed in range(CAMPAIGNS):
        disturbance = neighbour(dice, percent=10)
        found = paired_ratio(*measured(dice, disturbance, blocked_places(seed), TRUTH))
        covered += found.low <= TRUTH <= found.high
    assert covered / CAMPAIGNS >= 0.93


def test_an_aa_run_differs_in_5_percent_of_campaigns_and_claims_in_almost_none():
    dice, campaigns = np.random.default_rng(4), 4000
    different, words = 0, Counter()
    for seed in range(campaigns):
        pair = measured(dice, drift(dice), blocked_places(seed), truth=1.0)
        known = {"provenance": "measured:counter:nvml", "tier": "dev", "validity": "valid"}
        different += p_difference(*pair) < 0.05
        words[judge("energy_per_token", *pair, **known).verdict] += 1
    assert 0.04 <= different / campaigns <= 0.06
    assert words["saves"] + words["costs"] < different / 4
    assert words["equivalent"] > campaigns / 2


@pytest.mark.parametrize("blocks", [10, 16])
def test_the_interval_of_the_publish_tier_covers_the_truth(blocks):
    dice, campaigns = np.random.default_rng(5), 600
    covered = 0
    for seed in range(campaigns):
        creep = dice.uniform(0, 0.2) * np.arange(blocks * CELLS) / (blocks * CELLS)
        found = paired_ratio(*measured(dice, creep, blocked_places(seed, blocks), TRUTH))
        covered += found.low <= TRUTH <= found.high
    # 93-97 % widened by three standard deviations of a share of 600
    slack = 3 * math.sqrt(0.05 * 0.95 / campaigns)
    assert 0.95 - slack <= covered / campaigns <= 0.95 + slack
