"""What of a load falls into a window, counted by hand."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from greenbench.engines.engine import Queue
from greenbench.measure.outcomes import Outcome, Poll
from greenbench.measure.tally import good, latencies, sent_late, tally
from greenbench.schema.load_spec import SloSpec

NO_LIMITS = SloSpec()


def answered(due_s, *stamps_s, sent_s=None, done_s=None, prompt=10):
    sent_s = due_s if sent_s is None else sent_s
    done_s = stamps_s[-1] if done_s is None else done_s
    return Outcome(due_s, sent_s, done_s, stamps_s, prompt)


def failed(due_s, done_s, *stamps_s):
    return Outcome(due_s, due_s, done_s, stamps_s, 10, "It failed: see its log.")


def given_up(due_s, *stamps_s):
    """It had wanted 4 tokens."""
    return Outcome(due_s, due_s, None, stamps_s, 10, wanted_tokens=4)


def test_requests_and_tokens_are_counted_by_when_the_tokens_came():
    outcomes = [
        answered(2, 9, 10, 11, 12),  # 3 of 4 tokens within, due before
        answered(10, 12, 14),  # whole
        answered(18, 19, 20, 21, 23),  # 1 of 4: a token at the very end is not within
        answered(19, 25, 26),  # all of it after
        answered(9, done_s=10.0),  # without a token, ended at the very start
        failed(11, 13, 12),
        given_up(12, 15, 25),
    ]
    found = tally(outcomes, [], 10, 20, NO_LIMITS)
    traffic = found.traffic
    assert traffic.requests == 0.75 + 1 + 0.25 + 0 + 1 + 0 + 0.25
    assert found.tokens == 3 + 2 + 1 + 0 + 1 + 1
    assert found.prompt_tokens == 32
    assert (traffic.due, traffic.ended, traffic.failed, traffic.unfinished) == (5, 3, 1, 1)
    assert found.iterations == 3
    assert traffic.good is None


def test_latencies_are_of_what_was_due_in_the_window_and_from_then():
    outcomes = [
        answered(2, 11, 12),
        answered(10, 12, 14, sent_s=11),
        answered(19, 30, 31, 33, sent_s=19.5, done_s=34),
        answered(15, 16),
        answered(16, done_s=17),
        failed(11, 13, 12),
        given_up(12, 15),
    ]
    found = tally(outcomes, [], 10, 20, NO_LIMITS)
    traffic = found.traffic
    assert traffic.ttft.seconds == [1, 2, 3, 11]  # of one that was given up on too
    assert traffic.tpot.seconds == [1.5, 2]
    assert traffic.e2e.seconds == [1, 1, 4, 15]
    assert (traffic.ttft.n, traffic.tpot.n, traffic.e2e.n) == (4, 2, 4)
    assert traffic.late_s == pytest.approx(1.5 / 6)
    assert traffic.silent == 1
    assert (found.ttft.p50_s, found.ttft.n) == (2.5, 4)
    assert found.tpot.p50_s == 1.75


def test_a_chunk_of_several_tokens_has_them_all_at_its_moment():
    found = tally([answered(10, 11, 11, 11, 12, 12, 12)], [], 10, 11.5, NO_LIMITS)
    assert found.traffic.requests == 0.5
    assert found.tokens == 3
    assert found.traffic.tpot.seconds == [0.2]


def test_in_flight_is_from_the_sending_to_the_end():
    """Two that overlap, one that straddles the start, one given up on, one not sent in time."""
    outcomes = [
        answered(0, 12),
        answered(20, 40, sent_s=30),
        answered(35, 60),
        given_up(90),
        answered(99, 120, sent_s=110),
    ]
    traffic = tally(outcomes, [], 10, 110, NO_LIMITS).traffic
    assert traffic.flight_s == 2 + 10 + 25 + 20
    assert traffic.busy == pytest.approx((2 + 30 + 20) / 100)
    assert len(traffic.in_flight) == 50
    assert traffic.in_flight[0] == 1  # at 11
    assert traffic.in_flight[1:10] == [0] * 9
    assert traffic.in_flight[10:16] == [1, 1, 2, 2, 2, 1]  # at 31, 33, 35, 37, 39, 41
    assert traffic.in_flight[-10:] == [1] * 10


spans = some.lists(some.tuples(some.floats(0, 100), some.floats(0, 30)), max_size=20)


@given(spans)
def test_windows_beside_each_other_add_up(asked):
    """What one window counts, two halves of it count together."""
    outcomes = [answered(due, due + took / 2, due + took, sent_s=due) for due, took in asked]
    whole, *halves = [
        tally(outcomes, [], *window, NO_LIMITS) for window in ((0, 140), (0, 37), (37, 140))
    ]
    for what in ("due", "ended", "requests", "flight_s"):
        parts = sum(getattr(half.traffic, what) for half in halves)
        assert getattr(whole.traffic, what) == pytest.approx(parts, abs=1e-5)
    assert whole.tokens == sum(half.tokens for half in halves) == 2 * len(asked)
    assert whole.traffic.requests == pytest.approx(len(asked), abs=1e-5)
    assert 0 <= whole.traffic.busy <= 1
    assert whole.traffic.busy * 140 <= whole.traffic.flight_s + 1e-3


LIMITS = SloSpec(ttft_ms=1000, tpot_ms=100)


@pytest.mark.parametrize(
    ("outcome", "slo", "kept"),
    [
        (answered(0, 1.0, 1.09), LIMITS, True),
        (answered(0, 1.2, 1.3), LIMITS, False),
        (answered(0, 0.9, 1.2), LIMITS, False),
        (answered(0, 0.9, 1.2), SloSpec(ttft_ms=1000), True),
        (answered(0, 0.9), LIMITS, True),
        (answered(0, done_s=0.5), LIMITS, False),
        (answered(0, done_s=0.5), SloSpec(tpot_ms=100), True),
        (failed(0, 0.9, 0.5), LIMITS, False),
        (given_up(0, 0.5), LIMITS, False),
        (given_up(0, 0.01), SloSpec(ttft_ms=1000), True),
        (given_up(0, 0.01, 0.02), SloSpec(ttft_ms=1000), True),
        (given_up(0), SloSpec(ttft_ms=1000), False),
        (given_up(0, 0.01), SloSpec(tpot_ms=100), False),
        (given_up(0, 0.5, 0.55), LIMITS, True),
        (given_up(0, 0.5, 0.75), LIMITS, False),
        (given_up(0), SloSpec(tpot_ms=100), False),
    ],
)
def test_within_the_limits(outcome, slo, kept):
    assert good(outcome, slo) is kept
    assert tally([outcome], [], 0, 10, slo).traffic.good == int(kept)


def test_sent_late():
    assert not sent_late([answered(0, 1, sent_s=0.04), given_up(0)], 10)
    assert sent_late([answered(0, 1, sent_s=0.06)], 10)
    assert not sent_late([], 10)
    assert not sent_late([given_up(0)._replace(sent_s=0.4)], 10)  # in flight until 10 at least
    assert sent_late([given_up(0)._replace(sent_s=0.6)], 10)
    assert sent_late([answered(0, 1), given_up(9)._replace(sent_s=12)], 10)  # never sent


def test_of_many_latencies_as_many_stand_for_all():
    seconds = [each / 1000 for each in range(10_000, 0, -1)]
    kept = latencies(seconds)
    assert kept.n == 10_000
    assert len(kept.seconds) == 500
    assert {round(b - a, 6) for a, b in pairwise(kept.seconds)} == {0.02}
    assert kept.seconds[0] == pytest.approx(0.011)
    assert sum(kept.seconds) / 500 == pytest.approx(sum(seconds) / 10_000, rel=1e-3)
    assert latencies(seconds[:500]).seconds == sorted(seconds[:500])


def test_gauges_are_means_of_steps_and_null_where_nothing_was_told():
    polls = [
        Poll(at, Queue(at, 2 * at) if at < 12 else None) for at in (9.9, 10, 10.25, 10.5, 11.9, 12)
    ]
    gauges = tally([], polls, 10, 13, NO_LIMITS).traffic.gauges
    assert gauges.step_s == 0.5
    assert gauges.running == [10.125, 10.5, None, 11.9, None, None]
    assert gauges.waiting == [20.25, 21, None, 23.8, None, None]
    assert tally([], [Poll(11, None)], 10, 13, NO_LIMITS).traffic.gauges is None


def test_a_window_of_nothing():
    traffic = tally([], [], 0, 10, LIMITS).traffic
    assert (traffic.due, traffic.requests, traffic.busy, traffic.good, traffic.late_s) == (
        0,
        0,
        0,
        0,
        0,
    )
    assert traffic.e2e.seconds == []
