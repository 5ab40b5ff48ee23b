"""Whole runs on a CPU whose counters are files: the meters that read them are the real ones."""

from dataclasses import replace

import numpy as np
import pytest

from greenbench.analysis.disturbances import with_wall_codes
from greenbench.errors import Lost
from greenbench.measure.recorder import Recorder
from greenbench.meters import OpenMeters
from greenbench.simulate.drawn_power import IDLE_W
from greenbench.simulate.measured_run import Lab, Truth, run
from greenbench.simulate.rapl_bench import CALM, FAULTS, RaplBench
from greenbench.simulate.weather import Weather

TRUTH = Truth(0.9, 0.8)
STILL = Lab(Weather(spread=0.0))
FIVE = STILL._replace(plan=replace(STILL.plan, max_blocks=5))
NAMED = {fault.name: fault for fault in FAULTS}


def measured(bench, lab=STILL):
    return run("simulated", TRUTH, lab, np.random.default_rng(0), bench=bench)


def codes(record):
    return {code for window in record.windows for code in window.codes} | set(record.codes)


def test_a_calm_cpu_gives_the_truth_of_package_and_memory(tmp_path):
    record = measured(RaplBench(tmp_path))
    assert (record.validity, codes(record)) == ("valid", set())
    assert record.meter.used == ["rapl", "rapl_dram"]
    assert record.ratios["energy_per_token"].value == pytest.approx(TRUTH.energy, rel=0.002)
    assert record.ratios["tokens_per_s"].value == pytest.approx(1 / TRUTH.time, rel=1e-6)
    assert record.idle["both"].value == pytest.approx(IDLE_W, rel=0.001)
    assert {heat for window in record.windows for heat in window.trace.temperature_c} >= {70}


@pytest.mark.parametrize("name", ["counter wraps every 65 kJ", "counter jumps by 50 J"])
def test_what_is_no_fault_or_is_not_seen_moves_the_answer_by_little(tmp_path, name):
    record = measured(RaplBench(tmp_path, NAMED[name], 140.0))
    assert (record.validity, codes(record)) == ("valid", set())
    assert record.ratios["energy_per_token"].value == pytest.approx(TRUTH.energy, rel=0.005)


@pytest.mark.parametrize(
    "name",
    [
        "counter stands, 3 s",
        "counter jumps by 50 kJ",
        "counter jumps by 0.2 kJ",
        "counter starts again",
        "throttled by heat, 3 s",
        "throttled by heat, 0.1 s",
    ],
)
def test_what_spoils_a_window_takes_its_block_with_it_and_no_joule_of_the_rest(tmp_path, name):
    bench = RaplBench(tmp_path, NAMED[name], 140.0)
    record = measured(bench)
    spoilt = [window for window in record.windows if window.codes]
    assert [bench.fell_into(w.start_s, w.end_s) for w in spoilt] == [True]
    assert spoilt[0].codes == [bench.fault.code]
    assert (record.validity, record.ratios["energy_per_token"].n) == ("valid", 5)
    assert record.ratios["energy_per_token"].value == pytest.approx(TRUTH.energy, rel=0.002)


def test_heat_at_the_edge_of_two_windows_is_said_of_both(tmp_path):
    calm = measured(RaplBench(tmp_path / "calm"), FIVE)
    edge_s = next(window.end_s for window in calm.windows if window.block == 1)
    bench = RaplBench(tmp_path / "hot", NAMED["throttled by heat, 3 s"], edge_s - 0.2)
    found = [(w.codes, bench.fell_into(w.start_s, w.end_s)) for w in measured(bench, FIVE).windows]
    assert [codes for codes, touched in found if touched] == [["throttled"], ["throttled"]]
    assert not any(codes for codes, touched in found if not touched)


@pytest.mark.parametrize(
    "name",
    [
        "CPU's clock falls by 20 % for good",
        "other programs take the CPUs, 30 s",
        "on battery, 30 s",
        "on battery from then on",
    ],
)
def test_what_flags_a_run_is_said_of_it(tmp_path, name):
    bench = RaplBench(tmp_path, NAMED[name], 75.0)
    record = measured(bench, FIVE)
    assert codes(record) == {bench.fault.code}
    assert (record.validity, record.codes) == ("flagged", [bench.fault.code])
    touched = [bench.fell_into(w.start_s, w.end_s) for w in record.windows if w.codes]
    assert all(touched)


def test_a_counter_that_vanishes_ends_the_run(tmp_path):
    with pytest.raises(Lost):
        measured(RaplBench(tmp_path, NAMED["counter's file vanishes"], 75.0), FIVE)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("wall meter on one of two plugs", "above_wall_high"),
        ("wall meter tells three quarters", "above_wall"),
        ("counter counts 10 % too little, with a wall meter", None),
    ],
)
def test_parts_above_the_wall_are_seen_and_parts_below_are_not(tmp_path, name, code):
    bench = RaplBench(tmp_path, NAMED[name])
    with OpenMeters(bench.meters()) as meters, bench.played():
        recorder = Recorder(meters, clock=bench.clock)
        with recorder.whole("prepare", "candidate"):
            bench.work(420.0, 12.0)
        bench.join(recorder)
    (window,) = with_wall_codes(recorder.windows)
    assert meters.refused == {}
    assert window.codes == [code] * (code is not None)


def test_work_takes_longer_under_a_fault_and_no_longer_beside_it(tmp_path):
    bench = RaplBench(tmp_path, CALM._replace(name="slow", slow=1.5, less=0.7), 2.0)
    (package, _), start_s = bench.meters(), bench.clock.monotonic()
    start_j = package.read().energy_j
    assert bench.work(100.0, 1.0) == pytest.approx(1.0)
    assert bench.work(100.0, 4.0) == pytest.approx(5.0)  # 1 s, 2 s within 3, 1 s
    assert bench.clock.monotonic() - start_s == pytest.approx(6.0)
    drawn_j = package.read().energy_j - start_j
    assert drawn_j == pytest.approx(100 * (3 + 0.7 * 3), abs=0.2)
