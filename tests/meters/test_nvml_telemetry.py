"""What comes and goes between two looks at a GPU, and lists that are none."""

import os

import pynvml
import pytest

from greenbench.meters import OpenMeters
from greenbench.meters.meter import codes
from greenbench.meters.nvml_company import HIDDEN
from greenbench.meters.nvml_power import NvmlPower

A = "GPU-aaaaaaaa-0000-1111-2222-333333333333"
OURS = f"process {os.getpid()} 1000\n"
H100 = f"device {A}\npower 300\n{OURS}"
BRIEF = 0.1
"""Seconds, of looks that are a quarter of a second apart."""


def faults_of(clock, seconds=10.0):
    """Those of a window, and of the one after it."""
    meter = NvmlPower([A], clock)
    clock.step_s = meter.period_s
    clock.listeners.append(lambda now_s: meter.read())
    found = []
    for _ in range(2):
        start = meter.read()
        clock.sleep(seconds)
        found.append(codes(start, meter.read()))
    return meter, found


@pytest.mark.parametrize("at_s", [3.01, 3.06, 3.11, 3.16, 3.21])
@pytest.mark.parametrize("told", ["fields", "policy"])
@pytest.mark.parametrize(
    "reason",
    [
        pynvml.nvmlClocksEventReasonHwThermalSlowdown,
        pynvml.nvmlClocksEventReasonSwThermalSlowdown,
        pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown,
    ],
)
def test_throttling_that_is_over_before_the_next_look_is_seen(fake_nvml, at_s, told, reason):
    script = f"throttle 0 {at_s} {reason} {at_s + BRIEF}\nthrottle_time {told}\n"
    if told == "policy" and reason == pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown:
        pytest.skip("an older driver counts heat alone")
    _, found = faults_of(fake_nvml(H100 + script))
    assert found == [["throttled"], []]


def test_a_power_limit_that_holds_clocks_back_is_no_throttling(fake_nvml):
    cap = pynvml.nvmlClocksEventReasonSwPowerCap
    _, found = faults_of(fake_nvml(H100 + f"throttle 0 3.01 {cap} 3.11\n"))
    assert found == [[], []]


@pytest.mark.parametrize("at_s", [3.01, 3.06, 3.11, 3.16, 3.21])
def test_a_process_that_is_gone_before_the_next_look_is_seen(fake_nvml, at_s, monkeypatch):
    monkeypatch.setattr("psutil.pid_exists", {os.getpid()}.__contains__)
    meter, found = faults_of(fake_nvml(H100 + f"process 4711 1 60 {at_s} {at_s + BRIEF}\n"))
    assert found == [["foreign_process"], []]
    assert meter.unseen is None


def test_a_process_of_the_run_s_that_is_gone_is_no_company(fake_nvml):
    """As a server that was ended between two windows: it was the run's when it was listed."""

    class Own:
        pids = named = frozenset({os.getpid(), 4711})

        def refresh(self):
            self.pids = frozenset({os.getpid()})

    clock = fake_nvml(H100 + "process 4711 1 60 0 3.06\n")
    meter, own = NvmlPower([A], clock, own=Own()), Own()
    clock.step_s = meter.period_s
    clock.listeners.append(lambda now_s: meter.read())
    clock.sleep(3)
    own.refresh()
    clock.sleep(3)
    assert meter.read().faults == ()


@pytest.mark.parametrize("script", ["", "process_use unsupported\n"])
def test_a_list_that_never_shows_the_run_s_own_process_is_none(fake_nvml, script):
    meter, found = faults_of(fake_nvml(f"device {A}\npower 300\n{script}"))
    assert found == [[], []]
    assert meter.unseen == HIDDEN
    assert OpenMeters([meter]).told() == {"nvml_power": HIDDEN}
    assert OpenMeters([meter], notes={"nvml_power": "A note."}).told() == {
        "nvml_power": f"A note. {HIDDEN}"
    }


def test_a_list_that_shows_it_later_is_one(fake_nvml):
    late = f"process {os.getpid()} 1000 50 5 1000\n"
    meter, found = faults_of(fake_nvml(f"device {A}\npower 300\n{late}"))
    assert found == [[], []]
    assert meter.unseen is None
    assert OpenMeters([meter], notes={"nvml": "A note."}).told() == {"nvml": "A note."}
