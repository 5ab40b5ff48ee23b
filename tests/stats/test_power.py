"""Power against textbooks, and against runs that are judged as runs are."""

import math

import numpy as np
import pytest
from scipy import stats

from greenbench.analysis.verdicts import judge, judge_sweep
from greenbench.stats import power
from greenbench.stats.intervals import paired_ratio, stein_blocks


@pytest.mark.parametrize(("effect", "n"), [(0.05, 5), (0.10, 5), (0.08, 10)])
def test_without_margin_or_second_stage_it_is_the_noncentral_t(effect, n, monkeypatch):
    monkeypatch.setattr(power, "MARGIN", 0.0)
    moved = -math.log1p(-effect) / 0.04 * math.sqrt(n)
    expected = stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, moved)
    found = power.chance(1 - effect, 0.04, power.Blocks(n, n))
    assert found == (pytest.approx(expected, abs=2e-3), n)


def judged(ratio, spread, blocks, family, runs, dice):
    """Words of so many runs, by the product's own stopping and verdicts, and the blocks that they took."""
    words, counts = [], []
    for _ in range(runs):
        logs = dice.normal(math.log(ratio), spread, blocks.most)
        number = min(blocks.most, stein_blocks(logs[: blocks.first], blocks.half_width))
        sides = [1.0] * number, np.exp(logs[:number]).tolist()
        verdict = judge(
            "energy_per_token", *sides, provenance="measured:counter:nvml", tier="dev",
            validity="valid", first=blocks.first,
        )  # fmt: skip
        (found,) = judge_sweep([verdict], {"energy_per_token": [0.9] * (family - 1)})
        words.append(found.verdict)
        counts.append(number)
    return words, float(np.mean(counts))


@pytest.mark.parametrize(
    ("ratio", "spread", "family"),
    [(0.97, 0.015, 1), (0.95, 0.03, 1), (1.05, 0.03, 1), (0.90, 0.04, 10), (0.98, 0.01, 1)],
)
def test_a_chance_is_what_the_verdicts_of_simulated_runs_are(ratio, spread, family):
    blocks = power.Blocks(5, 15, 0.03)
    words, number = judged(ratio, spread, blocks, family, 700, np.random.default_rng(5))
    found = power.chance(ratio, spread, blocks, family)
    share = words.count("saves" if ratio < 1 else "costs") / len(words)
    doubt = 3 * math.sqrt(found.shown * (1 - found.shown) / len(words)) + 0.003
    assert share == pytest.approx(found.shown, abs=doubt)
    assert number == pytest.approx(found.blocks, rel=0.03)


def test_the_smallest_effect_and_the_blocks_that_are_needed_give_the_chance_asked_for():
    blocks = power.Blocks(5, 15, 0.03)
    effect = power.smallest_effect(0.02, blocks)
    assert power.chance(1 - effect, 0.02, blocks).shown == pytest.approx(0.8, abs=0.01)
    n = power.needed(0.95, 0.04)
    enough, fewer = (power.chance(0.95, 0.04, power.Blocks(k, k)).shown for k in (n, n - 1))
    assert fewer < 0.8 <= enough
    assert power.needed(0.95, 0.04, family=20) > n


def test_an_effect_within_the_margin_is_not_shown_by_any_number_of_blocks():
    assert power.needed(0.985, 0.02) is None
    assert power.smallest_effect(5.0, power.Blocks(2, 2)) is None
    assert power.chance(0.9, 0.01, power.Blocks(1, 1)) == (0.0, 1.0)
    assert power.chance(0.9, 0.0, power.Blocks(2, 2)) == (1.0, 2.0)


def test_the_spread_is_read_back_from_an_interval():
    logs = np.random.default_rng(1).normal(0, 0.03, 7)
    found = paired_ratio([1.0] * 7, np.exp(logs).tolist())
    half = (found.high - found.low) / 2 / found.value
    assert power.spread_of(half, 7) == pytest.approx(logs.std(ddof=1))
    low, high = power.spread_bounds(1.0, 5)
    assert (low, high) == (pytest.approx(0.599, abs=1e-3), pytest.approx(2.874, abs=1e-3))
    with pytest.raises(ValueError, match="no spread"):
        power.spread_of(0.1, 1)
