"""Power that the driver tells as a mean of a second only, where nothing counts joules."""

import pytest

from greenbench.measure.recorder import short_codes
from greenbench.meters.meter import span
from greenbench.meters.nvml_power import AVERAGED_S, PERIOD_S, NvmlPower

A = "GPU-aaaaaaaa-0000-1111-2222-333333333333"
SCRIPT = f"device {A}\npower 70 20 420\ncounter unsupported\n"


def counted(clock, meter, seconds):
    """From second 20 on, when the work begins."""
    clock.step_s = PERIOD_S
    clock.listeners.append(lambda now_s: meter.read())
    clock.sleep(20 - clock.now_s)
    start = meter.read()
    clock.sleep(seconds)
    return span(meter, start, meter.read(), 0.0)


@pytest.mark.parametrize(("seconds", "codes"), [(2.0, ["short_window"]), (12.0, [])])
def test_a_window_against_which_its_memory_is_long_is_invalid(fake_nvml, seconds, codes):
    clock = fake_nvml(SCRIPT + "field unsupported\n")
    found = counted(clock, NvmlPower([A], clock), seconds)
    apart = (found.end_j - found.start_j) / (420 * seconds) - 1
    assert apart == pytest.approx(-0.5 * (420 - 70) / 420 / seconds, rel=0.1)
    assert abs(apart) < 2 * AVERAGED_S / seconds  # what the budget calls tick at most
    assert short_codes([found]) == codes
    assert found.tick_s == AVERAGED_S


def test_power_of_the_moment_has_no_such_memory(fake_nvml):
    clock = fake_nvml(SCRIPT)
    found = counted(clock, NvmlPower([A], clock), 2.0)
    assert found.tick_s == PERIOD_S
    assert found.end_j - found.start_j == pytest.approx(840, rel=0.02)
    assert short_codes([found]) == []


def test_samples_are_as_often_where_it_is_a_mean(fake_nvml):
    clock = fake_nvml(SCRIPT + "field unsupported\n")
    meter = NvmlPower([A], clock)
    start = meter.read()
    clock.sleep(2.0)  # forty periods: no more than ten may pass unsampled
    assert meter.read().faults[len(start.faults) :] == ("sampler_gap",)
