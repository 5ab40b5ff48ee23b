"""Verdicts from block values: each word is earned by its rule and refused without it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbench.analysis.verdicts import judge, judge_exact, judge_sweep
from greenbench.schema.verdict import Verdict
from greenbench.stats.intervals import holm, paired_ratio

ZIGZAG = (1, -1, 2, -2, 1, -1, 0, 0)  # mean 0, so the geometric mean of the ratios is known


def blocks(ratio, spread, pattern=ZIGZAG):
    """Baseline and candidate per block, whose log-ratios are log(ratio) + spread x pattern."""
    return [10.0] * len(pattern), [10.0 * ratio * math.exp(spread * step) for step in pattern]


def verdict(ratio, spread, metric="energy_per_token", **changes):
    known = {"provenance": "measured:counter:nvml", "tier": "dev", "validity": "valid"} | changes
    return judge(metric, *blocks(ratio, spread), **known)


@pytest.mark.parametrize(
    ("ratio", "spread", "word"),
    [
        (0.7, 0.01, "saves"),
        (1.4, 0.01, "costs"),
        (1.0, 0.005, "equivalent"),
        (0.7, 0.5, "inconclusive"),  # large, but the interval holds 1
        (1.0, 0.1, "inconclusive"),  # no difference seen, and none excluded
        (0.985, 0.007, "inconclusive"),  # surely below 1, but not by 2 %
        (0.995, 0.001, "equivalent"),  # surely below 1, and surely within 2 %
        (0.979, 0.001, "saves"),  # just over 2 %
        (1.021, 0.001, "costs"),
    ],
)
def test_each_word_is_earned(ratio, spread, word):
    found = verdict(ratio, spread)
    assert found.verdict == word, found.reason
    assert found.ratio == pytest.approx(ratio)
    assert f"{ratio:.4f}" in found.reason


def test_the_numbers_behind_a_verdict_are_those_of_the_closed_form():
    found = verdict(0.98, 0.01)
    error = 0.01 * math.sqrt(12 / 7 / 8)  # the pattern's squares sum to 12
    half = 2.3646243 * error  # t(0.975, 7)
    assert found.low == pytest.approx(0.98 * math.exp(-half), rel=1e-6)
    assert found.high == pytest.approx(0.98 * math.exp(half), rel=1e-6)
    assert (found.n, found.method, found.margin, found.family) == (8, "t", 0.02, 1)
    assert found.p_adjusted == found.p_difference


def test_more_tokens_per_second_save_seconds_per_token():
    found = verdict(1.25, 0.01, metric="tokens_per_s", provenance="measured:clock")
    assert (found.verdict, found.metric) == ("saves", "seconds_per_token")
    assert found.ratio == pytest.approx(0.8)
    assert found.low < 0.8 < found.high
    slower = verdict(0.8, 0.01, metric="tokens_per_s", provenance="measured:clock")
    assert slower.verdict == "costs"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tier": "smoke"}, "smoke"),
        ({"provenance": "estimated:model"}, "estimate"),
        ({"provenance": "assumed"}, "estimate"),
        ({"validity": "invalid"}, "invalid"),
    ],
)
@pytest.mark.parametrize(("ratio", "spread"), [(0.5, 0.001), (2.0, 0.001), (1.0, 0.001)])
def test_what_may_claim_nothing_claims_nothing(changes, why, ratio, spread):
    found = verdict(ratio, spread, **changes)
    assert found.verdict == "inconclusive"
    assert why in found.reason
    assert found.ratio == pytest.approx(ratio)  # the number is still told


def test_a_flagged_run_may_claim():
    assert verdict(0.7, 0.01, validity="flagged").verdict == "saves"


@pytest.mark.parametrize(
    ("baseline", "candidate", "why"),
    [
        ([], [], "no block"),
        ([2.0], [1.0], "no interval"),
        ([2.0, 1.0], [1.0, -0.1], "not above 0"),
    ],
)
def test_too_little_to_judge_is_said_not_raised(baseline, candidate, why):
    found = judge(
        "decode_energy_per_token",
        baseline,
        candidate,
        provenance="measured:counter:rapl",
        tier="dev",
        validity="valid",
    )
    assert found.verdict == "inconclusive"
    assert why in found.reason
    assert found.p_difference is None


def test_blocks_that_do_not_pair_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="shorter"):
        judge("ttft", [1, 2], [1], provenance="measured:clock", tier="dev", validity="valid")


def test_a_verdict_is_by_the_interval_of_the_paired_ratio_whatever_the_number_of_blocks():
    dice = np.random.default_rng(2)
    baseline = np.exp(dice.normal(0, 0.3, 12))
    candidate = 0.8 * baseline * np.exp(dice.normal(0, 0.02, 12))
    found = judge(
        "ttft", baseline, candidate, provenance="measured:clock", tier="publish", validity="valid"
    )
    interval = paired_ratio(baseline, candidate)
    assert (found.method, found.verdict) == ("t", "saves")
    assert (found.ratio, found.low, found.high) == interval[:3]


@pytest.mark.parametrize(
    ("baseline", "candidate", "word"),
    [
        (1000, 560, "saves"),
        (1000, 1100, "costs"),
        (1000, 1000, "equivalent"),
        (1000, 985, "equivalent"),
    ],
)
def test_exact_bytes_are_judged_by_their_size_alone(baseline, candidate, word):
    found = judge_exact("model_bytes", baseline, candidate)
    assert (found.verdict, found.method, found.p_difference) == (word, "exact", None)
    assert found.ratio == candidate / baseline


def sweep():
    """Ten runs of which one is clear, one holds only when alone, and eight show nothing."""
    return [verdict(0.7, 0.01), verdict(0.95, 0.045), *[verdict(1.0, 0.05)] * 8]


def test_a_sweep_takes_back_what_only_many_tries_found():
    alone = sweep()
    assert [found.verdict for found in alone[:2]] == ["saves", "saves"]
    together = judge_sweep(alone)
    assert [found.verdict for found in together[:2]] == ["saves", "inconclusive"]
    assert "Holm over 10" in together[1].reason
    assert together[1].p_adjusted == pytest.approx(9 * alone[1].p_difference)
    assert [found.p_adjusted for found in together] == holm([found.p_difference for found in alone])


def test_judging_a_sweep_again_changes_nothing():
    once = judge_sweep(sweep())
    assert judge_sweep(once) == once


def test_each_metric_is_a_family_and_the_barred_and_exact_are_in_none():
    mixed = [
        verdict(0.95, 0.045),
        verdict(0.95, 0.045, metric="ttft", provenance="measured:clock"),
        verdict(0.95, 0.045, tier="smoke"),
        verdict(0.95, 0.045, provenance="estimated:model"),
        judge_exact("model_bytes", 1000, 560),
    ]
    assert judge_sweep(mixed) == mixed
    assert judge_sweep([]) == []


def test_a_verdict_survives_its_record():
    found = judge_sweep(sweep())[1]
    assert Verdict.model_validate_json(found.model_dump_json()) == found


@given(
    st.lists(st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)), min_size=2, max_size=9),
    st.sampled_from(["smoke", "dev", "publish"]),
)
def test_no_data_can_both_be_different_and_the_same(pairs, tier):
    baseline, candidate = zip(*pairs, strict=True)
    known = {"provenance": "measured:wall", "tier": tier, "validity": "valid"}
    found = judge("energy_per_token", baseline, candidate, **known)
    if found.verdict in {"saves", "costs"}:
        assert found.p_equivalence > 0.05
        assert (found.high < 1, found.low > 1) == (
            found.verdict == "saves",
            found.verdict == "costs",
        )
    if tier == "smoke":
        assert found.verdict == "inconclusive"
