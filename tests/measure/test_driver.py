"""Requests sent at their times, in virtual time against a queue whose waiting times are known."""

import asyncio
import random
import threading
import time
from itertools import accumulate, count, islice, pairwise, repeat
from statistics import fmean

import pytest
from helpers.virtual import Queueing
from scipy.special import stdtrit

from greenbench.engines.engine import Queue, Request
from greenbench.errors import Busy, EngineFault, UserError
from greenbench.measure.arrivals import Due, times
from greenbench.measure.driver import at_times, by_users
from greenbench.measure.tally import tally
from greenbench.schema.enums import Arrivals
from greenbench.schema.load_spec import LoadSpec, SloSpec
from greenbench.stats.intervals import mean_interval

ASKED = Request((1, 2, 3), 4)


def dues(at_s):
    return (Due(each, ASKED) for each in at_s)


def poisson(rate, seed=0):
    load = LoadSpec(Arrivals.poisson, rate=rate)
    return times(load, rate, random.Random(seed))


def flowed(served, arrivals, seconds, within_s=1e6):
    """What becomes of a load that is let flow for `seconds`."""
    with at_times(served, arrivals, served.clock) as flow:
        flow.wait(seconds)
        return flow.stop(within_s)[0], flow


SERVICE_S = 0.02
QUEUES, BLOCKS = 6, 20
JOINTLY = stdtrit(BLOCKS - 1, 1 - 0.05 / (2 * QUEUES)) / stdtrit(BLOCKS - 1, 1 - 0.05 / 2)
"""By so much a 95 % interval is widened for all of these tests to pass at 95 % together (Bonferroni)."""


@pytest.mark.parametrize(("load", "requests"), [(0.3, 8_000), (0.6, 12_000), (0.9, 40_000)])
@pytest.mark.parametrize("kind", ["deterministic", "exponential"])
def test_waiting_times_are_those_of_the_queue(kind, load, requests):
    """M/D/1 and M/M/1: Pollaczek and Khinchine; and request by request, Lindley's recursion."""
    dice = random.Random(17)
    services_s = [
        SERVICE_S * (1.0 if kind == "deterministic" else dice.expovariate(1))
        for _ in range(2 * requests)
    ]
    served, rate = Queueing(services_s), load / SERVICE_S
    outcomes, _ = flowed(served, dues(poisson(rate)), requests / rate)
    outcomes = outcomes[:requests]
    waits = [
        each.done_s - each.due_s - took for each, took in zip(outcomes, services_s, strict=False)
    ]

    expected = [0.0]
    for (before, after), took in zip(pairwise(outcomes), services_s, strict=False):
        expected.append(max(0.0, expected[-1] + took - (after.due_s - before.due_s)))
    assert waits == pytest.approx(expected, abs=1e-6)

    mean_s = SERVICE_S * load / (1 - load) * (0.5 if kind == "deterministic" else 1)
    size = requests // BLOCKS  # long against the queue's memory, about 400 services at 90 %
    found = mean_interval([fmean(waits[size * i : size * (i + 1)]) for i in range(BLOCKS)])
    half_s = JOINTLY * (found.high - found.low) / 2
    assert abs(found.value - mean_s) < half_s < 0.5 * mean_s
    traffic = tally(outcomes, [], 1.0, outcomes[-1].due_s, SloSpec()).traffic
    assert traffic.busy == pytest.approx(load, abs=0.03)
    assert traffic.late_s == pytest.approx(0, abs=1e-6)


def test_requests_go_out_on_time_whatever_becomes_of_those_before():
    """And what is given up on has no end."""
    served = Queueing(repeat(100.0))
    with at_times(served, dues(count(0, 0.5)), served.clock) as flow:
        flow.wait(500)
        outcomes, _ = flow.stop(1050)
    assert [each.due_s for each in outcomes[:5]] == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert all(each.sent_s == pytest.approx(each.due_s) for each in outcomes)
    assert len(outcomes) >= 1000
    ends = [each.done_s for each in outcomes if each.done_s is not None]
    assert ends == pytest.approx([100.0 * (n + 1) for n in range(len(ends))])
    assert outcomes[-1].done_s is None
    assert 15 <= len(ends) < len(outcomes)


def test_nothing_is_sent_after_the_stop_and_a_load_may_end_before_it():
    served = Queueing(repeat(0.1))
    outcomes, flow = flowed(served, dues([1, 2, 3]), 50)
    assert [each.done_s for each in outcomes] == pytest.approx([1.1, 2.1, 3.1])
    assert flow.stop(0)[0] == outcomes


class Deaf(Queueing):
    """Begins to answer the requests whose number is in `deaf`, and never ends."""

    def __init__(self, deaf, **how):
        super().__init__(**how)
        self.deaf, self.number = deaf, 0

    async def ask(self, request, came=None):
        self.number += 1
        if self.number in self.deaf:
            came.append(self.loop.time())
            await asyncio.Event().wait()
        return await super().ask(request, came)


def test_the_stop_waits_only_so_long_and_gives_up_on_the_rest():
    served = Deaf({2}, services_s=repeat(0.5))
    outcomes, _ = flowed(served, dues([1, 2, 3]), 10, within_s=30)
    assert [each.done_s for each in outcomes] == pytest.approx([1.5, None, 3.5])
    assert [each.answered for each in outcomes] == [True, False, True]
    assert outcomes[1].stamps_s == pytest.approx((2,))
    assert [each.wanted_tokens for each in outcomes] == [None, 4, None]
    assert served.loop.time() >= 40


class Failing(Queueing):
    """Fails where `fails` says of the request's number, or raises another `error`."""

    def __init__(self, fails, error=EngineFault, **how):
        super().__init__(**how)
        self.fails, self.error, self.number = fails, error, 0

    async def ask(self, request, came=None):
        self.number += 1
        number = self.number
        done = await super().ask(request, came)
        if self.fails(number):
            came += done.stamps_s
            raise self.error(f"The server cut request {number}: see its log.")
        return done


def test_a_failed_request_is_kept_with_its_reason():
    served = Failing(lambda number: number == 2, services_s=repeat(0.25))
    outcomes, _ = flowed(served, dues([1, 2, 3]), 10)
    assert [each.fault for each in outcomes] == [
        None,
        "The server cut request 2: see its log.",
        None,
    ]
    assert outcomes[1].done_s == pytest.approx(2.25)
    assert outcomes[1].stamps_s == pytest.approx((2.25,))


@pytest.mark.parametrize("by", ["times", "users"])
def test_a_dead_server_measures_nothing_more(by):
    """With one answer between, it lives."""
    dead = Failing(lambda number: number > 3, services_s=repeat(0.25))

    def flow():
        if by == "times":
            return at_times(dead, dues(count(1)), dead.clock)
        return by_users(dead, repeat(ASKED), 1, dead.clock)

    with pytest.raises(EngineFault, match="cut request 8"), flow() as running:
        running.wait(100)
    assert dead.loop.time() < 100
    alive = Failing(lambda number: number % 5, services_s=repeat(0.25))
    outcomes, _ = flowed(alive, dues(range(1, 101)), 110)
    assert sum(each.answered for each in outcomes) == 20


@pytest.mark.parametrize("by", ["times", "users"])
def test_a_server_that_turns_requests_away_lives(by):
    """Ten requests a second, or four users, who ask once a second: after the third it takes none."""
    shedding = Failing(lambda number: number > 3, Busy, services_s=repeat(0.0))
    if by == "times":
        running = at_times(shedding, dues(count(0.05, 0.1)), shedding.clock)
    else:
        running = by_users(shedding, repeat(ASKED), 4, shedding.clock)
    with running as flow:
        flow.wait(20)
        outcomes, _ = flow.stop(0)
    traffic = tally(outcomes, [], 5.0, 15.0, SloSpec()).traffic
    assert traffic.failed == traffic.due == pytest.approx(100 if by == "times" else 40, abs=1)


CALLS = {
    "wait": lambda flow: flow.wait(1e6),
    "stop": lambda flow: flow.stop(1),
    "leave": lambda flow: None,
}


def loads():
    return [thread for thread in threading.enumerate() if thread.name == "load"]


@pytest.mark.parametrize("call", CALLS)
def test_a_bug_is_raised_where_the_flow_is_used(call):
    over = threading.Event()

    class Ending(Failing):
        def converse(self, talk):
            try:
                return super().converse(talk)
            finally:
                over.set()

    served = Ending(lambda number: number == 2, ZeroDivisionError, services_s=repeat(0.25))

    def used():
        with at_times(served, dues(count(1)), served.clock) as flow:
            over.wait()
            CALLS[call](flow)

    with pytest.raises(ZeroDivisionError):
        used()
    assert not loads()


def test_what_the_caller_raises_ends_the_load():
    served = Queueing(repeat(0.1))
    flow = at_times(served, dues(count(1)), served.clock)
    with pytest.raises(UserError, match="mine"), flow:
        raise UserError("mine")
    assert not loads()


def test_a_server_that_cannot_be_talked_to_says_so_at_once():
    class Closed(Queueing):
        def converse(self, talk):
            raise EngineFault("The server is gone: see its log.")

    served = Closed()
    with pytest.raises(EngineFault, match="gone"):
        at_times(served, dues([1]), served.clock).__enter__()


def test_users_keep_as_many_in_flight():
    """Each asks again once answered: with one server, one is answered and all others wait."""
    served = Queueing(repeat(0.4), tokens=2)
    with by_users(served, repeat(ASKED), 5, served.clock) as flow:
        flow.wait(100)
        outcomes, _ = flow.stop(100)
    first = [each.due_s for each in outcomes[:5]]
    assert first == pytest.approx([0, 0.2, 0.4, 0.4, 0.6])  # users 1 to 4, the first again between
    window = tally(outcomes, [], 10, 90, SloSpec())
    assert set(window.traffic.in_flight) <= {4, 5}  # at the moment of an end
    assert window.traffic.flight_s == pytest.approx(5 * 80, rel=1e-6)
    assert window.traffic.ended == 200
    late = [each for each in outcomes if each.due_s > 10]
    assert all(each.done_s - each.due_s == pytest.approx(2.0) for each in late)


class Blocking(Queueing):
    """Keeps the loop from sending: as a generator that is too slow."""

    async def ask(self, request, came=None):
        self.loop.now_s += 0.3
        return self.completion(request, self.loop.time())


def test_late_sends_are_seen():
    served = Blocking()
    outcomes, _ = flowed(served, dues(count(0.05, 0.1)), 20, within_s=100)
    window = tally(outcomes, [], 0, 10, SloSpec())
    assert window.codes == ["late_sends"]
    assert window.traffic.late_s > 5
    assert window.traffic.unfinished == 0
    assert window.traffic.due == 100  # those that were due and late are sent and counted


def test_what_was_due_and_is_never_sent_is_given_up_and_not_forgotten():
    """A generator at a third of its speed: the later it is, the fewer it has sent by the end of the drain."""
    outcomes, _ = flowed(Blocking(), dues(count(0.05, 0.1)), 20, within_s=3)
    last_s = outcomes[-1].due_s  # virtual time runs on until the stop is heard
    window = tally(outcomes, [], last_s - 9.95, last_s + 0.05, SloSpec())
    assert last_s >= 19
    assert window.codes == ["late_sends"]
    traffic = window.traffic
    assert traffic.due == traffic.unfinished == 100
    assert traffic.late_s > 3


def test_the_wall_clock_means_nothing(monkeypatch):
    jumps = count(0, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(jumps)))
    served = Queueing(repeat(0.5))
    outcomes, _ = flowed(served, dues([1, 2]), 10)
    assert [each.done_s for each in outcomes] == pytest.approx([1.5, 2.5])


class Telling(Queueing):
    async def queue(self):
        now_s = self.loop.time()
        if 3 < now_s < 5:
            raise EngineFault("busy")
        return Queue(1.0, now_s)


def test_the_server_is_asked_how_busy_it_is():
    served = Telling(repeat(0.1))
    with at_times(served, dues(count(1)), served.clock) as flow:
        flow.wait(10)
        outcomes, polls = flow.stop(10)
    before = [poll for poll in polls if poll.at_s < 10]
    assert len(before) == 40
    gauges = tally(outcomes, polls, 0, 8, SloSpec()).traffic.gauges
    assert gauges.step_s == 0.5
    assert gauges.waiting[:2] == pytest.approx([0.125, 0.625])
    assert gauges.running[7:9] == [None, None]
    assert all(value is not None for value in gauges.running[:6] + gauges.running[10:])


def test_real_time_is_kept_to():
    """On the loop and the clock that a run has: the order of times, and that they are after they are due."""

    class Real(Queueing):
        def converse(self, talk):
            return asyncio.run(talk(self))

        async def ask(self, request, came=None):
            sent_s = time.perf_counter()
            await asyncio.sleep(0)
            done_s = time.perf_counter()
            return self.completion(request, sent_s)._replace(stamps_s=(done_s,), done_s=done_s)

    with at_times(Real(), dues(accumulate(repeat(0.01), initial=0))) as flow:
        flow.wait(0.05)
        started_s = time.perf_counter()
        assert started_s - flow.start_s >= 0.05
        flow.wait(0.1)
        outcomes, _ = flow.stop(5)
    assert len(outcomes) >= 15
    assert all(each.due_s <= each.sent_s <= each.done_s for each in outcomes)
    assert [each.due_s - flow.start_s for each in islice(outcomes, 3)] == pytest.approx(
        [0, 0.01, 0.02]
    )
