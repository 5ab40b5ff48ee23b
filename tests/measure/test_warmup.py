"""When a model is warm."""

import time
from contextlib import nullcontext

import numpy as np
import pytest
from helpers.engines import Echoing, Words
from helpers.windows import protocol

from greenbench.engines.engine import Build
from greenbench.measure import pair, warmup
from greenbench.measure.requests import Requests
from greenbench.schema.record import Settling
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.window import Trace


def unseen(start_s, end_s):
    """No meter looks."""


def points(seconds):
    return [warmup.Point(float(index), value) for index, value in enumerate(seconds)]


def test_a_latency_that_falls_is_not_settled_and_one_that_only_scatters_is():
    falling = warmup.settling(points([1.0 - 0.01 * i for i in range(20)]), 20.0, unseen)
    assert not falling.settled
    # a slope of -0.01 a second around a mean of 0.855 over the later half
    assert falling.slopes["latency_fraction_per_30_s"] == pytest.approx(-0.3 / 0.855, rel=1e-3)
    scatter = warmup.settling(points([1.0 + 0.05 * (-1) ** i for i in range(40)]), 40.0, unseen)
    assert scatter.settled
    assert not warmup.settling(points([1.0]), 1.0, unseen).settled


def sensors(power_w, temperature_c, step_s=0.5):
    """What a GPU's sensors say at a time, of which each is a function."""

    def look(start_s, end_s):
        times = np.arange(start_s, end_s, step_s)
        return Trace(
            step_s=step_s,
            power_w=[power_w(t) for t in times],
            temperature_c=[temperature_c(t) for t in times],
            sm_mhz=[], mem_mhz=[], throttle=[], utilization=[],
        )  # fmt: skip

    return look


def noisy(time_s):
    """7 % about 150 W, as a busy host makes it."""
    return 150 + 10 * np.sin(7.3 * time_s)


def state(look, now_s, spent_s):
    return warmup.settling([warmup.Point(now_s, 1.0)], spent_s, look)


def test_power_that_only_scatters_is_settled_and_power_that_climbs_is_not():
    assert state(sensors(noisy, lambda t: 40), 40.0, 40.0).settled
    climbing = state(sensors(lambda t: noisy(t) + t, lambda t: 40), 40.0, 40.0)
    assert not climbing.settled
    assert climbing.slopes["power_fraction_per_30_s"] == pytest.approx(30 / 180, rel=0.1)
    assert climbing.by == "temperature and power"


def test_power_before_the_warm_up_does_not_count_but_heat_does():
    idle_first = sensors(lambda t: noisy(t) if t > 28 else 80.0, lambda t: 40)
    assert state(idle_first, 40.0, 12.0).settled
    assert not state(idle_first, 40.0, 40.0).settled
    heating = sensors(noisy, lambda t: int(30 + t / 5))
    assert not state(heating, 40.0, 12.0).settled


def test_where_sensors_have_said_too_little_latency_decides():
    assert state(sensors(noisy, lambda t: 40), 40.0, 1.0).by == "latency"


def test_warm_up_ends_at_its_limit_and_says_that_it_did_not_settle(monkeypatch):
    monkeypatch.setattr(warmup, "settling", lambda p, s, _: Settling(
        seconds=s, iterations=len(p), settled=False, by="latency", slopes={}))  # fmt: skip
    texts = [f"{'a' * n} " * 40 for n in range(1, 30)]
    requests = Requests(Words(), texts, WorkloadSpec("w", prompt_tokens=4), 0)
    served = Echoing(lambda count: [time.perf_counter()] * count)
    plain = Build(None, "safetensors", None, None)
    make = {"baseline": lambda: plain, "candidate": lambda: plain}
    with pair.Together(lambda who, build: nullcontext(served), make) as both:
        found = warmup.warm_up(both, requests, protocol(), unseen)
    assert all(state.seconds >= 0.3 and not state.settled for state in found.values())
