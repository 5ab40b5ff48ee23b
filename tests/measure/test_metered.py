"""A window around any code: joules with provenance, or the reason why there are none."""

import subprocess
import sys
import time

import pytest

import greenbench
from greenbench.errors import UserError

SPIN = "import time\nwhile time.process_time() < 0.5: pass"


def spin(seconds):
    end_s = time.process_time() + seconds
    while time.process_time() < end_s:
        pass


def test_more_work_is_more_joules_and_an_estimate_says_that_it_is_one():
    with greenbench.metered("estimate") as short:
        spin(0.1)
    with greenbench.metered("estimate") as long:
        spin(0.5)
    assert long.energy.value > short.energy.value > 0
    assert long.energy.provenance == "estimated:model"
    assert long.energy.low < long.energy.value < long.energy.high
    assert long.seconds > 0.5
    assert long.boundaries["estimate"] == "cpu_package"


def test_what_a_child_process_does_counts():
    """Idle time counts too, so the same seconds are compared, asleep and at work."""
    start_s = time.monotonic()
    with greenbench.metered("estimate") as working:
        subprocess.run([sys.executable, "-c", SPIN], check=True)
    seconds = time.monotonic() - start_s
    with greenbench.metered("estimate") as asleep:
        time.sleep(seconds)
    assert working.energy.value > 1.1 * asleep.energy.value


def test_without_a_meter_it_says_why():
    with greenbench.metered("rapl") as window:
        pass
    if window.energy.value is None:
        assert "no meter answered: rapl: " in window.energy.reason
    assert window.seconds is not None


def test_the_window_ends_where_the_code_fails():
    windows = []

    def fail():
        with greenbench.metered("estimate") as window:
            windows.append(window)
            spin(0.05)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert windows[0].energy.value > 0


def test_an_unknown_meter_is_one_sentence():
    said = "meters=joulemeter is unknown: allowed are auto, estimate"
    with pytest.raises(UserError, match=said), greenbench.metered("joulemeter"):
        pass
