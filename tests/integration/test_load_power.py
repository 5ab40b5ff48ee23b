"""Joules of a load from power that steps as a fake NVML says: each number is computed by hand here."""

from types import SimpleNamespace

import pytest

from greenbench.analysis.idle import idle_power
from greenbench.analysis.load_curve import load_curve
from greenbench.measure import recorder
from greenbench.measure.outcomes import Outcome
from greenbench.measure.tally import tally
from greenbench.meters import OpenMeters
from greenbench.meters.nvml_counter import NvmlCounter
from greenbench.schema.load_spec import SloSpec
from greenbench.schema.metrics import (
    ENERGY_PER_REQUEST,
    ENERGY_PER_TOKEN,
    MARGINAL_ENERGY_PER_REQUEST,
    POWER,
)
from greenbench.schema.window import WHO, Place

GPU = "GPU-17171717-0000-1111-2222-333333333333"
DEVICE = SimpleNamespace(
    synchronize=lambda: None,
    reset_peaks=lambda: None,
    device_peak_bytes=lambda: None,
    pids=frozenset,
)
AHEAD_S = 1000.0
"""Of the clock that times requests before the one that times windows: they need not have one origin."""
WINDOW_S, TOKENS = 10.0, 5
ASKED_S = 9.95
"""A window goes on until the counter steps again."""
NVML = "measured:counter:nvml"


@pytest.fixture
def metered(fake_nvml, monkeypatch):
    """Call with a power script: a recorder whose joules are NVML's, and the clock that moves both."""
    opened = []

    def open_(power):
        clock = fake_nvml(f"device {GPU}\npower {power}\ntick 0.1\n")
        vars(clock).update(time=lambda: 0.0, perf_counter=lambda: clock.now_s + AHEAD_S)
        monkeypatch.setattr(recorder, "time", clock)
        meters = OpenMeters([NvmlCounter([GPU], clock)])
        opened.append(meters)
        return recorder.Recorder(meters, watched=()), clock

    yield open_
    for meters in opened:
        meters.__exit__(None, None, None)


def answered(due_s, done_s):
    """Its tokens come evenly, the last at its end."""
    stamps = tuple(due_s + (done_s - due_s) * (n + 1) / TOKENS for n in range(TOKENS))
    return Outcome(due_s, due_s, done_s, stamps, 10)


def watch(metered, who, block, at_s, outcomes):
    """A window from `at_s` on, in which the requests are `outcomes`, timed from its start."""
    taker, clock = metered
    clock.sleep(at_s - clock.now_s - 0.02)  # the counter's next step is when it starts
    place = Place(series="block", unit=block, position=WHO.index(who), load=1.0)
    start_s, end_s = taker.watch("serve", who, DEVICE, ASKED_S, place)
    assert start_s == pytest.approx(AHEAD_S + at_s, abs=0.01)
    moved = [
        each._replace(
            due_s=each.due_s + start_s,
            sent_s=each.sent_s + start_s,
            done_s=each.done_s + start_s,
            stamps_s=tuple(stamp + start_s for stamp in each.stamps_s),
        )
        for each in outcomes
    ]
    taker.tell(**tally(moved, [], start_s, end_s, SloSpec())._asdict())


def curve(taker):
    """What the windows show."""
    idle = idle_power(taker.windows, "")
    return load_curve(taker.windows, idle, SloSpec(), "request/s", 1.0, "no meter")


def test_a_window_from_step_to_step_is_its_power_times_its_seconds(metered):
    taker, _ = found = metered("100 5 400 15 100")
    watch(found, "baseline", 0, 5.0, [answered(1, 2)])
    (window,) = taker.windows
    (span,) = window.energy
    assert (span.meter, span.provenance) == ("nvml", NVML)
    assert window.end_s - window.start_s == pytest.approx(WINDOW_S, rel=1e-3)
    assert span.end_j - span.start_j == pytest.approx(4000, rel=2e-3)
    assert window.traffic.requests == 1
    assert window.validity == "valid"


def steps(baseline_w, baseline_s, candidate_w, candidate_s, idle_w=100):
    """Two blocks of 10 s windows at 10 s, 30 s, 50 s and 70 s, the baseline first: so many seconds at so
    many watts in each, and else at rest."""
    found = [f"{idle_w}"]
    for at_s, watts, seconds in zip(
        (10, 30, 50, 70),
        2 * (baseline_w, candidate_w),
        2 * (baseline_s, candidate_s),
        strict=True,
    ):
        found.append(f"{at_s} {watts} {at_s + seconds} {idle_w}")
    return " ".join(found)


def measured(metered, power, outcomes):
    """All of it, with a rest before."""
    taker, _ = found = metered(power)
    taker.idle("both", 6.0)
    for block, who, at_s in ((0, WHO[0], 10), (0, WHO[1], 30), (1, WHO[0], 50), (1, WHO[1], 70)):
        watch(found, who, block, at_s, outcomes[who])
    (point,) = curve(taker).points
    return point


def test_joules_per_request_with_all_that_a_box_draws_and_above_its_idle_power(metered):
    """The baseline at 400 W makes 20 requests in 10 s, the candidate at 250 W makes 25.

    4000 J / 20 = 200 J and (4000 J - 100 W * 10 s) / 20 = 150 J; 2500 / 25 = 100 J and 1500 / 25 = 60 J.
    """
    outcomes = {
        "baseline": [answered(n / 2, n / 2 + 0.4) for n in range(20)],
        "candidate": [answered(n / 2.5, n / 2.5 + 0.3) for n in range(25)],
    }
    point = measured(metered, steps(400, 10, 250, 10), outcomes)
    for side, whole_j, above_j, watts in (
        (point.baseline, 200, 150, 400),
        (point.candidate, 100, 60, 250),
    ):
        levels = side.metrics
        assert ENERGY_PER_REQUEST.level(levels).value == pytest.approx(whole_j, rel=2e-3)
        assert ENERGY_PER_TOKEN.level(levels).value == pytest.approx(whole_j / TOKENS, rel=2e-3)
        assert MARGINAL_ENERGY_PER_REQUEST.level(levels).value == pytest.approx(above_j, rel=4e-3)
        assert POWER.level(levels).value == pytest.approx(watts, rel=2e-3)
        assert {q.provenance for n, q in levels.items() if n.endswith("_j")} == {NVML}
    assert point.ratios[ENERGY_PER_REQUEST.ratio].value == pytest.approx(0.5, rel=4e-3)
    assert point.ratios[MARGINAL_ENERGY_PER_REQUEST.ratio].value == pytest.approx(0.4, rel=8e-3)


def test_twice_as_fast_at_equal_power_does_not_halve_the_energy_of_a_box_that_stays_on(metered):
    """Ten requests a window: 8 s at 400 W against 4 s, the rest at 100 W.

    3400 J against 2200 J in all: 0.647. Above idle 2400 J against 1200 J: half.
    """
    outcomes = {
        "baseline": [answered(0.8 * n, 0.8 * (n + 1)) for n in range(10)],
        "candidate": [answered(0.8 * n, 0.8 * n + 0.4) for n in range(10)],
    }
    point = measured(metered, steps(400, 8, 400, 4), outcomes)
    whole, above = ENERGY_PER_REQUEST, MARGINAL_ENERGY_PER_REQUEST
    for side, whole_j, above_j in ((point.baseline, 340, 240), (point.candidate, 220, 120)):
        assert whole.level(side.metrics).value == pytest.approx(whole_j, rel=2e-3)
        assert above.level(side.metrics).value == pytest.approx(above_j, rel=4e-3)
    assert point.ratios[whole.ratio].value == pytest.approx(2200 / 3400, rel=4e-3)
    assert point.ratios[above.ratio].value == pytest.approx(0.5, rel=8e-3)


def test_the_joules_of_requests_that_straddle_or_fail_stay_in_the_window(metered):
    """400 W for 10 s. Three of five tokens of one answer come within, one of five of another, and two of one
    that fails: 4000 J / 0.8 = 5000 J a request, 4000 J / 6 a token."""
    failed = answered(4, 6)._replace(stamps_s=(5.0, 5.5), fault="Cut: see its log.")
    outcomes = [answered(-1.4, 1.1), answered(8.1, 13.1), failed]
    taker, _ = found = metered("100 10 400 20 100 30 400 40 100")
    watch(found, "baseline", 0, 10, outcomes)
    watch(found, "candidate", 0, 30, outcomes)
    (point,) = curve(taker).points
    window = taker.windows[0]
    assert window.traffic.requests == pytest.approx(0.8)
    assert (window.tokens, window.traffic.due, window.traffic.failed) == (6, 2, 1)
    for side in (point.baseline, point.candidate):
        levels = side.metrics
        assert ENERGY_PER_REQUEST.level(levels).value == pytest.approx(5000, rel=2e-3)
        assert ENERGY_PER_TOKEN.level(levels).value == pytest.approx(4000 / 6, rel=2e-3)
        assert MARGINAL_ENERGY_PER_REQUEST.level(levels).value is None
        assert "idle" in MARGINAL_ENERGY_PER_REQUEST.level(levels).reason
