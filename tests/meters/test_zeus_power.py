"""The power of AMD's GPUs, on stand-ins of Zeus' public class, beside the counter that it checks."""

import pytest
from helpers.moved_clock import MovedClock

from greenbench.errors import Lost, Unavailable
from greenbench.meters import OpenMeters, codes, span, zeus
from greenbench.meters.meter import Tallies, Tally
from greenbench.meters.zeus_power import AVERAGED_S, ZeusPower


class Gpus:
    """As Zeus' `AMDGPUs`: the first draws 100 W, the second 200 W; a counter may tell another unit."""

    def __init__(self, clock, unit=1.0, instant=True, average=True):
        self.clock, self.unit, self.instant, self.average = clock, unit, instant, average
        self.lost = False

    def _power(self, told, index):
        if self.lost or not told:
            raise RuntimeError("AMDSMI_STATUS_NOT_SUPPORTED")
        return 100_000 * (index + 1)

    def get_instant_power_usage(self, index):
        return self._power(self.instant, index)

    def get_average_power_usage(self, index):
        return self._power(self.average, index)

    def get_gpu_temperature(self, index):
        return 60 + index

    def get_total_energy_consumption(self, index):
        return int(self.unit * 100_000 * (index + 1) * self.clock.now_s)


class Counter:
    """The meter zeus, whose opening needs Zeus itself."""

    name, boundary, provenance, checks, tick_s = "zeus", "gpu", "measured:counter:zeus", None, 0.001

    def __init__(self, gpus):
        self.gpus = gpus
        self.tallies = Tallies([Tally(raw, 0.0, zeus.UJ) for raw in self.raw()])

    def raw(self):
        return [1000 * self.gpus.get_total_energy_consumption(index) for index in (0, 1)]

    def read(self):
        return self.tallies.read(self.raw, self.gpus.clock, self.tick_s)


def ten_seconds(meters, clock):
    start = [meter.read() for meter in meters]
    for _ in range(200):
        clock.sleep(0.05)
        end = [meter.read() for meter in meters]
    return start, end


@pytest.mark.parametrize(
    ("unit", "apart", "found"),
    [(1.0, 0.0, []), (1.07, 0.07, ["residual"]), (15.3, 14.3, ["residual_high"])],
)
def test_a_counter_is_held_against_the_power(unit, apart, found):
    clock = MovedClock()
    gpus = Gpus(clock, unit)
    meters = [Counter(gpus), ZeusPower(gpus, 2, clock)]
    start, end = ten_seconds(meters, clock)
    spans = [span(m, s, e, 0.0) for m, s, e in zip(meters, start, end, strict=True)]
    assert spans[1].end_j - spans[1].start_j == pytest.approx(3000.0)
    residual, said = OpenMeters(meters).checked(spans)
    assert (residual, said) == (pytest.approx(apart, abs=1e-3), found)


def test_the_trace_has_power_and_the_hottest():
    clock = MovedClock()
    meter = ZeusPower(Gpus(clock), 2, clock)
    (start,), (end,) = ten_seconds([meter], clock)
    trace = meter.trace(start.time_s, end.time_s)
    assert set(trace.power_w) == {300.0}
    assert set(trace.temperature_c) - {None} == {61}  # looked at as seldom as points lie apart
    assert codes(start, end) == []


def test_a_mean_of_the_firmware_stands_in_and_blurs_the_edges():
    clock = MovedClock()
    meter = ZeusPower(Gpus(clock, instant=False), 2, clock)
    assert (meter.tick_s, meter.note.split(",")[0]) == (
        AVERAGED_S,
        "Power is a mean that the firmware makes",
    )


def test_gpus_that_tell_nothing_and_that_are_lost_are_one_sentence():
    clock = MovedClock()
    with pytest.raises(Unavailable, match=r"^A GPU tells Zeus no power"):
        ZeusPower(Gpus(clock, instant=False, average=False), 2, clock)
    gpus = Gpus(clock)
    meter = ZeusPower(gpus, 2, clock)
    gpus.lost = True
    with pytest.raises(Lost, match=r"power \(RuntimeError: AMDSMI_STATUS_NOT_SUPPORTED\)"):
        meter.read()
