"""When a model is warm."""

import time
from contextlib import nullcontext

import pytest
from helpers.engines import Echoing, Words
from helpers.windows import protocol

from greenbench.engines.engine import Build
from greenbench.measure import pair, warmup
from greenbench.measure.requests import Requests
from greenbench.schema.record import Settling
from greenbench.schema.spec import WorkloadSpec


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


def test_warm_up_ends_at_its_limit_and_says_that_it_did_not_settle(monkeypatch):
    monkeypatch.setattr(warmup, "settling", lambda p, s, _: Settling(
        seconds=s, iterations=len(p), settled=False, by="latency", slopes={}))  # fmt: skip
    texts = [f"{'a' * n} " * 40 for n in range(1, 30)]
    requests = Requests(Words(), texts, WorkloadSpec("w", prompt_tokens=4), 0)
    served = Echoing(lambda count: [time.perf_counter()] * count)
    plain = Build(None, "safetensors", None, None)
    make = {"baseline": lambda: plain, "candidate": lambda: plain}
    with pair.Together(lambda build: nullcontext(served), make) as both:
        found = warmup.warm_up(both, requests, protocol(), unseen)
    assert all(state.seconds >= 0.3 and not state.settled for state in found.values())
