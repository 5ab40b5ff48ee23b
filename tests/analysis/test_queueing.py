"""Queues that grow and servers that are only slow, told apart in windows that answers outlast."""

from heapq import heappop, heappush

import numpy as np
import pytest
from helpers.load_windows import serve

from greenbench.analysis.queueing import DRAIN, NOT_TOLD, RAMP, backlog, saturated, surely_grew
from greenbench.measure.outcomes import Outcome
from greenbench.measure.tally import tally
from greenbench.schema.load_spec import SloSpec

WINDOW_S, BLOCKS, RUNS = 10.0, 5, 30


def window(dice, block, rate, servers, middle_s, spread):
    """Poisson arrivals for lognormal work, as a run takes them: nothing before the ramp, a drain after."""
    start_s, end_s = RAMP * WINDOW_S, (1 + RAMP) * WINDOW_S
    due = np.cumsum(dice.exponential(1 / rate, 40 + round(2 * rate * end_s)))
    due = due[due < end_s]
    free, outcomes = [0.0] * min(servers, due.size), []
    for at, takes_s in zip(due, middle_s * dice.lognormal(0, spread, due.size), strict=True):
        done_s = max(at, heappop(free)) + takes_s
        heappush(free, done_s)
        whole = bool(done_s <= end_s + DRAIN * WINDOW_S)
        outcomes.append(
            Outcome(at, at, done_s if whole else None, (done_s,) * whole, 10, wanted_tokens=1)
        )
    told = tally(outcomes, [], start_s, end_s, SloSpec()).traffic
    return serve("baseline", block, rate, e2e=()).model_copy(update={"traffic": told})


def runs(rate, servers=1000, middle_s=1.0, spread=0.6):
    for seed in range(RUNS):
        dice = np.random.default_rng(seed)
        yield [window(dice, block, rate, servers, middle_s, spread) for block in range(BLOCKS)]


@pytest.mark.parametrize("rate", [1.0, 20.0])
@pytest.mark.parametrize(("middle_s", "spread"), [(4.0, 0.6), (6.0, 0.0), (10.0, 0.6)])
def test_answers_that_outlast_the_ramp_are_no_queue(rate, middle_s, spread):
    """No one waits, and yet the number in flight grows by a sixth of the requests due, or more."""
    found = [backlog(each) for each in runs(rate, middle_s=middle_s, spread=spread)]
    assert np.mean([surely_grew(each) for each in found]) < 0.1  # 0.025, but for chance
    assert NOT_TOLD in {each.reason for each in found}


@pytest.mark.parametrize("load", [1.7, 2.0, 3.0])
def test_a_queue_that_grows_fast_is_found_though_its_answers_outlast_the_ramp(load):
    """Four servers whose work takes a second each, asked for far more than they can do."""
    found = [saturated(each) for each in runs(4 * load, 4, 1 / np.exp(0.18))]
    assert np.mean(found) > 0.9


def test_a_queue_that_is_kept_with_short_answers_is_told():
    found = [backlog(each) for each in runs(2.8, 4, 1 / np.exp(0.18))]
    assert np.mean([each.value is not None for each in found]) > 0.9
    assert np.mean([saturated(each) for each in runs(2.8, 4, 1 / np.exp(0.18))]) < 0.1


def test_where_nearly_nothing_is_answered_a_queue_is_not_told_from_slow_answers():
    found = [backlog(each) for each in runs(32.0, 4)]
    assert {each.reason for each in found} == {NOT_TOLD}


def test_one_window_that_answers_outlast_tells_nothing():
    assert backlog(next(runs(16.0, 4))[:1]).reason == NOT_TOLD
