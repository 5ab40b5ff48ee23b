"""When requests come and how long they are, in numbers; and at which rates a sweep looks."""

import random
from itertools import islice, pairwise
from math import inf

import numpy as np
import pytest
from scipy import stats

from greenbench.errors import EngineFault
from greenbench.measure.arrivals import RATES, steps, times
from greenbench.measure.lengths import Length, lognormal
from greenbench.schema.enums import Arrivals
from greenbench.schema.load_spec import LoadSpec


@pytest.mark.parametrize(
    ("slower", "faster"), [(1.0, 1.0), (1.0, 10.0), (3.7, 4.1), (0.002, 900.0)]
)
def test_a_sweep_goes_from_where_both_models_idle_to_where_neither_can(slower, faster):
    for found in (
        steps({"baseline": slower, "candidate": faster}),
        steps({"baseline": faster, "candidate": slower}),
    ):
        assert len(found) == RATES
        assert found[0] == pytest.approx(slower / 8, rel=0.05)
        assert found[-1] == pytest.approx(2 * faster, rel=0.05)
        ratio = (16 * faster / slower) ** (1 / (RATES - 1))
        assert [b / a for a, b in pairwise(found)] == pytest.approx([ratio] * (RATES - 1), rel=0.1)


def test_a_model_that_answers_nothing_sets_no_rate():
    assert steps({"baseline": 0.0, "candidate": 8.0})[0] == 1
    with pytest.raises(EngineFault, match=r"give load\.rate numbers of your own"):
        steps({"baseline": 0.0, "candidate": inf})


RATE, COUNT = 4.0, 40_000


def gaps(arrivals, **how):
    """Between requests at `RATE`, the time to the first left out."""
    load = LoadSpec(arrivals, rate=RATE, **how)
    return np.diff(list(islice(times(load, RATE, random.Random(5)), COUNT + 1)))


def firsts(arrivals, **how):
    load = LoadSpec(arrivals, rate=RATE, **how)
    return [next(times(load, RATE, random.Random(seed))) for seed in range(4_000)]


def test_poisson_gaps_are_exponential():
    found = gaps(Arrivals.poisson)
    assert stats.kstest(found, stats.expon(scale=1 / RATE).cdf).pvalue > 0.01
    assert found.std() / found.mean() == pytest.approx(1, rel=0.02)
    # what is left of the gap in which the load starts is as long as any
    assert stats.kstest(firsts(Arrivals.poisson), stats.expon(scale=1 / RATE).cdf).pvalue > 0.01


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_gamma_gaps_have_their_coefficient_of_variation(cv):
    found = gaps(Arrivals.gamma, cv=cv)
    assert found.mean() == pytest.approx(1 / RATE, rel=0.05)
    assert found.std() / found.mean() == pytest.approx(cv, rel=0.05)
    law = stats.gamma(1 / cv**2, scale=cv**2 / RATE)
    seen = found[found > 1e-6]  # shorter ones are lost in the digits of the times that they part
    under = law.cdf(1e-6)
    assert stats.kstest(seen, lambda x: (law.cdf(x) - under) / (1 - under)).pvalue > 0.01
    assert seen.size / found.size == pytest.approx(1 - under, abs=0.01)
    # the rest of the gap that holds the start: half its mean square over its mean
    assert np.mean(firsts(Arrivals.gamma, cv=cv)) == pytest.approx(
        (1 + cv**2) / (2 * RATE), rel=0.1
    )


def test_constant_gaps_are_all_alike_and_start_anywhere_in_one():
    assert gaps(Arrivals.constant) == pytest.approx(1 / RATE, abs=1e-6)
    assert stats.kstest(firsts(Arrivals.constant), stats.uniform(0, 1 / RATE).cdf).pvalue > 0.01


def test_lognormal_lengths_have_their_medians_and_spread():
    found = list(islice(lognormal(Length(500, 80), 0.5, random.Random(5)), COUNT))
    for lengths, median in zip(np.transpose(found), (500, 80), strict=True):
        assert np.median(lengths) == pytest.approx(median, rel=0.02)
        assert np.log(lengths).std() == pytest.approx(0.5, rel=0.02)
        assert lengths.mean() == pytest.approx(median * np.exp(0.5**2 / 2), rel=0.02)
