"""Percentiles, shares, the jackknife and correlation times, against numpy and closed forms."""

from math import inf

import numpy as np
import pytest
from scipy import stats

from greenbench.stats.intervals import mean_interval
from greenbench.stats.resampling import (
    Sample,
    correlation_time,
    jackknifed,
    quantile,
    share_interval,
)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99, 1.0])
def test_a_quantile_of_pooled_samples_is_numpys_of_all(share):
    parts = [np.sort(np.random.default_rng(n).exponential(size=n)) for n in (1, 7, 40)]
    found = quantile([Sample(part, 1.0) for part in parts], share)
    assert found == pytest.approx(np.quantile(np.concatenate(parts), share))


def test_thinned_values_stand_for_their_neighbours():
    whole = np.sort(np.random.default_rng(3).exponential(size=10_000))
    thinned = whole[5::10]
    for share in (0.5, 0.9, 0.99):
        assert quantile([Sample(thinned, 10.0)], share) == pytest.approx(
            np.quantile(whole, share), rel=0.01
        )


def test_endless_ones_lie_above_every_value():
    pool = [Sample([1.0, 2.0, 3.0], 1.0, endless=1), Sample([4.0], 1.0)]
    assert quantile(pool, 0.5) == 3.0  # of 1, 2, 3, 4 and one without end
    assert quantile(pool, 0.75) == 4.0
    assert quantile(pool, 0.76) == inf
    assert quantile([Sample([], 1.0, endless=2)], 0.5) == inf
    with pytest.raises(ValueError, match="nothing"):
        quantile([Sample([], 1.0)], 0.5)


def test_the_jackknife_of_a_mean_is_its_t_interval():
    values = [1.0, 2.0, 4.0, 8.0]
    without = [(sum(values) - value) / 3 for value in values]
    assert jackknifed(3.75, without)[:4] == pytest.approx(mean_interval(values)[:4])
    assert jackknifed(1.0, [1.0]).reason


@pytest.mark.parametrize(("count", "of"), [(0, 5), (5, 5), (90, 100), (1, 1000)])
def test_a_shares_interval_is_wilsons(count, of):
    found = stats.binomtest(count, of).proportion_ci(method="wilson")
    assert share_interval(count, of)[:3] == pytest.approx((count / of, found.low, found.high))


def test_an_autoregressive_series_remembers_itself_for_as_long_as_it_does():
    dice, phi = np.random.default_rng(0), 0.9
    series = []
    for _ in range(40):
        values = [dice.normal() / np.sqrt(1 - phi**2)]
        for noise in dice.normal(size=2000):
            values.append(phi * values[-1] + noise)
        series.append(values)
    assert correlation_time(series) == pytest.approx((1 + phi) / (1 - phi) / 2, rel=0.1)


def test_white_noise_remembers_half_a_step_and_a_constant_nothing():
    noise = np.random.default_rng(0).normal(size=(10, 1000))
    assert correlation_time(noise) == pytest.approx(0.5, abs=0.1)
    assert correlation_time([[3, 3, 3], [3]]) is None
    assert correlation_time([]) is None
