"""The estimate: its formula, its bounds, its assumptions, and what this very process burns."""

import time
from itertools import pairwise

import pytest
from helpers.moved_clock import MovedClock

from greenbench.meters import estimate
from greenbench.meters.estimate import DRAM_W_PER_GIB, Cpu, CpuEstimate, _DramEstimate
from greenbench.meters.meter import codes, span

EPYC = "AMD EPYC 7763 64-Core Processor"  # 280 W, 64 cores, 128 threads


def cpu(model=EPYC, packages=1, cpus=128, smt=True, usable=128.0, virtual=False):
    return Cpu(model, packages, cpus, smt, usable, virtual)


class Clock:
    """Seconds and CPU seconds, set by hand."""

    wall_s = cpu_s = 0.0

    def monotonic(self):
        return self.wall_s

    def sleep(self, seconds):
        self.wall_s += seconds


@pytest.mark.parametrize(
    ("cpu_s", "low", "mid", "high"),
    [
        (0.0, 0.02 * 280 * 10, 0.24 * 280 * 10, 0.40 * 280 * 10),  # idle
        (1280.0, 0.5 * 280 * 10, 280 * 10, 1.5 * 280 * 10),  # every thread busy
        (640.0, 0.26 * 280 * 10, 0.62 * 280 * 10, 0.95 * 280 * 10),  # half of them
    ],
)
def test_joules_follow_the_formula(cpu_s, low, mid, high):
    clock = Clock()
    meter = CpuEstimate(cpu=cpu(), clock=clock, cpu_s=lambda: clock.cpu_s)
    start = meter.read()
    clock.wall_s, clock.cpu_s = 10.0, cpu_s
    spanned = span(meter, start, meter.read(), 0.0)
    assert spanned.low_j == pytest.approx(low)
    assert spanned.end_j - spanned.start_j == pytest.approx(mid)
    assert spanned.high_j == pytest.approx(high)
    assert (spanned.boundary, spanned.provenance) == ("cpu_package", "estimated:model")


@pytest.mark.parametrize(
    ("facts", "tdp_w", "watts", "says"),
    [
        (cpu(), None, (280, 280, 280), "280 W from the table"),
        (cpu(packages=2, cpus=256, usable=256.0), None, (560, 560, 560), "2 package(s)"),
        (cpu(usable=32.0), None, (70, 70, 70), "32 of 128 CPUs"),
        (cpu(cpus=2, usable=2.0, virtual=True), None, (4.375, 4.375, 4.375), "2 of its 128"),
        (
            cpu(cpus=2, smt=False, usable=2.0, virtual=True),
            None,
            (4.375, 4.375, 8.75),
            "high bound: of its 64 cores",
        ),
        (cpu(), 225.0, (225, 225, 225), "225 W from meter.cpu_tdp_w"),
        (
            cpu("AMD EPYC", cpus=2, usable=2.0, virtual=True),
            15.0,
            (15, 15, 15),
            "assumed to show",
        ),
    ],
)
def test_the_share_of_the_package_is_stated(facts, tdp_w, watts, says):
    share = estimate.share(facts, tdp_w)
    assert share.tdp_w == pytest.approx(watts)
    assert says in share.assumption


def test_an_unknown_cpu_gets_the_range_of_the_table_and_says_so():
    share = estimate.share(cpu("Imaginary 9000", cpus=8, usable=8.0))
    per_thread = sorted(entry.tdp_w / entry.threads for entry in estimate.table().values())
    low, mid, high = (watts / 8 for watts in share.tdp_w)
    assert per_thread[0] < low < mid < high < per_thread[-1]
    below = sum(watts <= low for watts in per_thread) / len(per_thread)
    assert 0.02 < below < 0.1
    assert "'Imaginary 9000' is not in the table" in share.assumption
    assert "meter.cpu_tdp_w" in share.assumption


@pytest.mark.parametrize(
    "model",
    [
        "Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz",
        "Intel(R) Core(TM) i9-13900K",
        "AMD Ryzen 9 5950X 16-Core Processor",
        EPYC,
    ],
)
def test_names_are_found_as_the_kernel_writes_them(model):
    assert estimate.normalize(model) in estimate.table()


def test_the_table_is_sane():
    assert len(estimate.table()) > 150
    for name, entry in estimate.table().items():
        assert 10 < entry.tdp_w < 500, name
        assert entry.cores <= entry.threads <= 2 * entry.cores, name


def test_this_process_is_charged_for_its_cpu_time():
    meter = CpuEstimate(tdp_w=100.0)
    readings = [meter.read()]
    time.sleep(0.2)
    readings.append(meter.read())
    deadline = time.process_time() + 0.2
    while time.process_time() < deadline:
        pass
    readings.append(meter.read())
    idle, busy = (
        (end.energy_j - start.energy_j) / (end.time_s - start.time_s)
        for start, end in pairwise(readings)
    )
    assert idle >= 0.999 * meter.idle_w.mid
    assert busy > idle
    for start, end in pairwise(readings):
        assert end.low_j - start.low_j < end.energy_j - start.energy_j < end.high_j - start.high_j
        assert codes(start, end) == []


def test_this_machine_has_usable_cpus():
    facts = estimate.this_cpu()
    assert 0 < facts.usable <= facts.cpus
    assert facts.packages >= 1


def test_memory_is_watts_per_gib_held_over_time():
    clock, held = MovedClock(), [2 * 2**30]
    meter = _DramEstimate(clock, lambda: held[0])
    clock.sleep(10)
    steady = meter.read()
    assert steady.energy_j == pytest.approx(2 * 10 * DRAM_W_PER_GIB.mid)
    assert steady.low_j == pytest.approx(2 * 10 * DRAM_W_PER_GIB.low)
    held[0] = 4 * 2**30  # it grows evenly to twice as much within the next ten seconds
    clock.sleep(10)
    grown = meter.read()
    assert grown.energy_j - steady.energy_j == pytest.approx(3 * 10 * DRAM_W_PER_GIB.mid)
