"""Sessions pooled: closed forms, and coverage in simulated labs."""

from math import exp, log, sqrt

import numpy as np
import pytest
from scipy import stats

from greenbench.stats.intervals import Interval, mean_interval, t_quantile
from greenbench.stats.sessions import pooled

MANY = 100_000


def session(value, variance, n=MANY):
    """Of which the logarithm has that variance."""
    half = t_quantile(n) * sqrt(variance)
    return Interval(exp(value), exp(value - half), exp(value + half), n)


def of_blocks(logs):
    """The session that they make."""
    mean = mean_interval(logs.tolist())
    return Interval(exp(mean.value), exp(mean.low), exp(mean.high), mean.n)


def test_the_spread_between_sessions_is_the_component_of_a_one_way_analysis_of_variance():
    dice = np.random.default_rng(3)
    blocks = 0.05 * dice.standard_normal((6, 1)) + 0.02 * dice.standard_normal((6, 5))
    found = pooled([of_blocks(each) for each in blocks])
    ratio = stats.f_oneway(*blocks).statistic  # mean squares between over those within
    inside = blocks.var(axis=1, ddof=1).mean()
    assert found.tau**2 == pytest.approx((ratio - 1) * inside / 5)
    assert found.i_squared == pytest.approx(1 - 1 / ratio)


def test_the_interval_is_students_of_what_sessions_show():
    values = [0.1, 0.15, 0.05, 0.2]
    found = pooled([session(value, 1e-4) for value in values])
    plain = mean_interval(values)
    assert log(found.ratio.low) == pytest.approx(plain.low)
    assert log(found.ratio.high) == pytest.approx(plain.high)
    test = stats.ttest_1samp(values, 0)
    assert found.p_difference == pytest.approx(test.pvalue)
    bare = pooled([session(value, 1e-4)._replace(low=None, high=None) for value in values])
    assert bare.ratio == found.ratio
    assert bare.tau is None


def test_the_equivalence_test_is_the_greater_of_two_one_sided_ones():
    values = [0.001, -0.002, 0.003]
    sides = [stats.ttest_1samp(values, -log(1.02), alternative="greater").pvalue,
             stats.ttest_1samp(values, log(1.02), alternative="less").pvalue]  # fmt: skip
    assert pooled([session(x, 1e-6) for x in values]).p_equivalence == pytest.approx(max(sides))


def test_sessions_that_agree_better_than_their_blocks_would_have_them_have_no_spread_between():
    found = pooled([session(0.1, 0.01), session(0.1001, 0.01), session(0.0999, 0.02)])
    assert found.tau == 0
    assert found.i_squared == 0


def test_one_session_says_nothing_of_another():
    found = pooled([session(0.1, 0.01)])
    assert found.ratio.low is None
    assert found.ratio.reason.startswith("one session")
    assert found.next is None


def labs(count, tau, k, blocks=5, spread=0.02, seed=0):
    """Ratios of 0.8 measured `k` times: in each session it is another by `tau`, in each block by `spread`."""
    dice = np.random.default_rng([seed, k, int(1000 * tau)])
    true = log(0.8) + tau * dice.standard_normal((count, k + 1, 1))
    return true, true + spread * dice.standard_normal((count, k + 1, blocks))


@pytest.mark.parametrize("k", [2, 3, 5, 8])
@pytest.mark.parametrize("tau", [0.0, 0.05, 0.20])
def test_its_interval_covers_the_mean_session_and_the_next_one(tau, k):
    """93 to 97 % of 2,000 labs, where that of the blocks of all sessions covers far less."""
    count = 2000
    _, measured = labs(count, tau, k)
    held = ahead = blockwise = 0
    for lab in measured:
        found = pooled([of_blocks(each) for each in lab[:k]])
        held += found.ratio.low <= 0.8 <= found.ratio.high
        ahead += found.next[0] <= exp(lab[k].mean()) <= found.next[1]
        inside = of_blocks(lab[:k].ravel())
        blockwise += inside.low <= 0.8 <= inside.high
    assert 0.93 <= held / count <= 0.97
    assert 0.93 <= ahead / count <= 0.97
    if tau:
        assert blockwise / count < 0.75
