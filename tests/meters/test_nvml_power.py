"""Sampled power, through the real pynvml: its integral, its limits and its telemetry."""

import shutil
import subprocess

import pynvml
import pytest

from greenbench.errors import Lost, Unavailable
from greenbench.meters.meter import codes, residual, span
from greenbench.meters.nvml_counter import NvmlCounter
from greenbench.meters.nvml_power import NvmlPower
from greenbench.schema.codes import validity

A = "GPU-aaaaaaaa-0000-1111-2222-333333333333"
B = "GPU-bbbbbbbb-0000-1111-2222-333333333333"
H100 = f"device {A}\npower 300\n"


def sampled(clock, uuids=(A,)):
    """A power meter whose clock makes it sample, as its thread would."""
    meter = NvmlPower(uuids, clock)
    clock.step_s = meter.period_s
    clock.listeners.append(lambda now_s: meter.read())
    return meter


def window(meter, clock, seconds):
    start = meter.read()
    clock.sleep(seconds)
    end = meter.read()
    return span(meter, start, end, 0.0), codes(start, end)


def joules(found):
    return found.end_j - found.start_j


@pytest.mark.parametrize(
    ("more", "note"),
    [("", None), ("field unsupported\n", "average over a second")],
)
def test_300_watts_for_10_seconds_read_3000_joules(fake_nvml, more, note):
    clock = fake_nvml(H100 + more)
    meter = sampled(clock)
    found, faults = window(meter, clock, 10)
    assert joules(found) == pytest.approx(3000, rel=0.01)
    assert (found.meter, found.boundary) == ("nvml_power", "gpu")
    assert found.provenance == "measured:integrated:nvml"
    assert faults == []
    assert note is None or note in meter.note


def test_gpus_are_summed(fake_nvml):
    clock = fake_nvml(H100 + f"device {B}\npower 200\n")
    assert joules(window(sampled(clock, [A, B]), clock, 10)[0]) == pytest.approx(5000, rel=0.01)


def test_a_ramp_of_steps_is_integrated(fake_nvml):
    clock = fake_nvml(f"device {A}\npower 100 2 200 4 400 6 100\n")
    assert joules(window(sampled(clock), clock, 10)[0]) == pytest.approx(1800, rel=0.01)


def test_a_sensor_that_looks_all_the_time_sees_a_square_wave_whole(fake_nvml):
    clock = fake_nvml(f"device {A}\nsquare 0.13 0.25 600 100\nsample 0.02 0.02\n")
    found, _ = window(sampled(clock), clock, 13)
    assert joules(found) == pytest.approx(13 * 225, rel=0.02)


def test_a_part_time_sensor_is_right_on_a_load_that_does_not_lock_to_it(fake_nvml):
    """25 of every 100 ms looked at; a 130 ms load comes round to every phase in 1.3 s."""
    clock = fake_nvml(f"device {A}\nsquare 0.13 0.25 600 100\nsample 0.1 0.025\n")
    meter = sampled(clock)
    counter = NvmlCounter([A], clock)
    start = counter.read()
    found, _ = window(meter, clock, 13)
    counted = span(counter, start, counter.read(), 0.0)
    apart, found_codes = residual(counted, found)
    assert abs(apart) < 0.05
    assert found_codes == []


def test_a_load_that_locks_to_a_part_time_sensor_is_caught_by_the_residual(fake_nvml):
    """The stated bound: off by up to the whole swing. The sensor sees only the high quarter."""
    clock = fake_nvml(f"device {A}\nsquare 0.1 0.25 600 100\nsample 0.1 0.025\n")
    meter = sampled(clock)
    counter = NvmlCounter([A], clock)
    clock.sleep(1)
    start = counter.read()
    found, _ = window(meter, clock, 10)
    counted = span(counter, start, counter.read(), 0.0)
    assert joules(counted) == pytest.approx(2250, rel=0.02)
    assert abs(joules(found) / 10 - 225) <= 600 - 100
    assert residual(counted, found)[1] == ["residual_high"]


@pytest.mark.parametrize(
    ("gain", "expected", "worst"),
    [
        (1.0, [], "valid"),
        (0.96, [], "valid"),
        (1.07, ["residual"], "flagged"),
        (0.93, ["residual"], "flagged"),
        (0.57, ["residual_high"], "invalid"),
    ],
)
def test_a_counter_with_a_wrong_gain_is_caught(fake_nvml, gain, expected, worst):
    clock = fake_nvml(H100 + f"gain {gain}\n")
    meter, counter = sampled(clock), NvmlCounter([A], clock)
    start = counter.read()
    found, _ = window(meter, clock, 20)
    apart, found_codes = residual(span(counter, start, counter.read(), 0.0), found)
    assert apart == pytest.approx(gain - 1, abs=0.01)
    assert found_codes == expected
    assert validity(found_codes) == worst


def test_different_boundaries_have_no_residual(fake_nvml):
    clock = fake_nvml(H100)
    found, _ = window(sampled(clock), clock, 1)
    with pytest.raises(ValueError, match="different things"):
        residual(found.model_copy(update={"boundary": "dram"}), found)


def test_grace_hopper_is_sampled_with_the_scope_of_its_counter(fake_nvml):
    clock = fake_nvml(H100 + "name NVIDIA GH200 480GB\ncounter module\nmodule_extra 100\n")
    meter, counter = sampled(clock), NvmlCounter([A], clock)
    start = counter.read()
    found, _ = window(meter, clock, 20)
    assert found.boundary == "module"
    assert joules(found) == pytest.approx(8000, rel=0.01)
    assert residual(span(counter, start, counter.read(), 0.0), found)[1] == []


def test_a_gap_in_the_samples_is_reported_where_it_fell(fake_nvml):
    clock = fake_nvml(H100)
    meter = sampled(clock)
    assert window(meter, clock, 1)[1] == []
    clock.step_s = 1.0
    assert window(meter, clock, 2)[1] == ["sampler_gap"]
    clock.step_s = meter.tick_s
    assert window(meter, clock, 1)[1] == []


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (f"throttle 0 5 {pynvml.nvmlClocksEventReasonHwThermalSlowdown}\n", ["throttled"]),
        (f"throttle 0 5 {pynvml.nvmlClocksEventReasonSwPowerCap}\n", []),  # a state, and no fault
        (f"throttle 0 5 {pynvml.nvmlClocksEventReasonGpuIdle}\n", []),
        ("process 11 1000\nprocess 12 1000\nprocesses_at 5\n", ["foreign_process"]),
        ("process 11 1000\n", []),
        ("process 11 1000 90\nprocess 12 1000 0\nprocesses_at 5\n", ["idle_neighbour"]),
        ("process 11 1 90\nprocess 12 1 0\nprocess 13 1 5\nprocesses_at 5\n",
         ["foreign_process", "idle_neighbour"]),
        ("process_use unsupported\nprocess 11 1 90\nprocess 12 1 0\nprocesses_at 5\n",
         ["foreign_process"]),  # where the driver does not tell, any may compute
        ("process_use denied\nprocess 11 1 90\nprocess 12 1 0\nprocesses_at 5\n",
         ["foreign_process"]),
    ],
)  # fmt: skip
def test_telemetry_gives_its_codes_from_when_it_happens(fake_nvml, script, expected, monkeypatch):
    monkeypatch.setattr("psutil.pid_exists", lambda pid: False)
    clock = fake_nvml(H100 + script)
    meter = sampled(clock)
    assert window(meter, clock, 4)[1] == []
    clock.sleep(2)
    assert window(meter, clock, 4)[1] == expected


class Own:
    """Processes 11 and 12 do the run's work, and 13, born later."""

    pids = named = frozenset({11, 12})

    def refresh(self):
        self.pids = frozenset({11, 12, 13})


HERE = {11, 12, 13, 4711}


def company(clock):
    """The faults that two seconds show beside the run's own processes."""
    meter = NvmlPower([A], clock, own=Own())
    clock.step_s = meter.tick_s
    clock.listeners.append(lambda now_s: meter.read())
    start = meter.read()
    clock.sleep(2)
    return sorted({*start.faults, *meter.read().faults})


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ((11, 12), []),
        ((11, 4711), ["foreign_process"]),
        ((4711,), ["foreign_process"]),  # before the run's own process has touched the GPU
        ((13,), []),
        ((11, 13), []),
        ((800, 801, 802), []),  # a container's view: this process and the engine's two, renumbered
        ((800, 801, 802, 803), ["foreign_process"]),
    ],
)
def test_the_processes_of_an_engine_are_no_company(fake_nvml, seen, expected, monkeypatch):
    monkeypatch.setattr("psutil.pid_exists", HERE.__contains__)
    clock = fake_nvml(H100 + "".join(f"process {pid} 1000\n" for pid in seen))
    assert company(clock) == expected


def test_a_success_without_samples_says_that_none_computes(fake_nvml, monkeypatch):
    monkeypatch.setattr("psutil.pid_exists", HERE.__contains__)
    clock = fake_nvml(H100 + "process_use empty\nprocess 11 1000 0\nprocess 4711 1000 0\n")
    assert company(clock) == ["idle_neighbour"]


@pytest.mark.parametrize(("use", "expected"), [(0, ["idle_neighbour"]), (3, ["foreign_process"])])
def test_a_desktop_that_draws_nothing_is_told_from_one_that_computes(
    fake_nvml, monkeypatch, use, expected
):
    monkeypatch.setattr("psutil.pid_exists", HERE.__contains__)
    clock = fake_nvml(H100 + f"process 11 1000 90\nprocess 4711 1000 {use}\n")
    assert company(clock) == expected


@pytest.fixture
def mps_server(tmp_path):
    """The number of a process that runs under the name of an MPS server's."""
    program = tmp_path / "nvidia-cuda-mps-server"
    shutil.copy(shutil.which("sleep"), program)
    with subprocess.Popen([program, "600"]) as server:
        yield server.pid
        server.kill()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("process {server} 1 0", ["idle_neighbour"]),
        ("process {server} 1 9", ["foreign_process"]),
        ("process_use unsupported\nprocess {server} 1", ["idle_neighbour"]),  # it has no clients
        ("process_use unsupported\nprocess {server} 1\nmps_client 4711 5", ["foreign_process"]),
        ("process {server} 1 0\nmps_client 4711 5", ["idle_neighbour"]),
        ("process {server} 1 9\nmps_client 4711 5", ["foreign_process", "idle_neighbour"]),
        ("process {server} 1 9\nmps_client 11 5", []),  # its work is the run's
        ("process {server} 1 9\nmps_client 13 5", []),  # born since
        ("process {server} 1 9\nmps_client 11 5\nmps_client 4711 5",
         ["foreign_process", "idle_neighbour"]),
    ],
)  # fmt: skip
def test_an_mps_server_is_company_by_its_clients_and_by_what_it_computes(
    fake_nvml, monkeypatch, mps_server, script, expected
):
    monkeypatch.setattr("psutil.pid_exists", lambda pid: pid in {*HERE, mps_server})
    clock = fake_nvml(H100 + script.format(server=mps_server) + "\n")
    assert company(clock) == expected


def test_the_trace_of_a_window_is_compact_and_tells_what_happened(fake_nvml):
    script = "power 300 70 500\ntemperature 40 0.5\nclocks 1980 2619 70 1400 2619\n"
    clock = fake_nvml(f"device {A}\n{script}throttle 0 70 64\n")
    meter = sampled(clock)
    clock.sleep(10)
    clock.sleep(120)
    trace = meter.trace(10, 130)
    assert trace.step_s == pytest.approx(2)
    assert [len(column) for column in list(trace.model_dump().values())[1:]] == [60] * 6
    assert trace.power_w[0] == 300
    assert trace.power_w[-1] == 500
    assert trace.temperature_c[0] == pytest.approx(46, abs=1)
    assert trace.temperature_c[-1] == pytest.approx(105, abs=1)
    assert (trace.sm_mhz[0], trace.sm_mhz[-1]) == (1980, 1400)
    assert (trace.throttle[0], trace.throttle[-1]) == (0, 64)
    assert trace.utilization[0] == 90


def test_a_window_shorter_than_a_step_has_one_point(fake_nvml):
    clock = fake_nvml(H100)
    meter = sampled(clock)
    clock.sleep(1)
    trace = meter.trace(0.9, 1.0)
    assert trace.power_w == [300]


def test_missing_telemetry_is_none_and_never_0(fake_nvml, monkeypatch):
    clock = fake_nvml(H100)

    def unsupported(*_):
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    for name in ("Temperature", "ClockInfo", "CurrentClocksEventReasons", "UtilizationRates"):
        monkeypatch.setattr(pynvml, f"nvmlDeviceGet{name}", unsupported)
    meter = sampled(clock)
    clock.sleep(1)
    trace = meter.trace(0, 1)
    columns = (trace.temperature_c, trace.sm_mhz, trace.mem_mhz, trace.throttle, trace.utilization)
    assert all(set(column) == {None} for column in columns)
    assert trace.power_w[0] == 300


@pytest.mark.parametrize(
    "more", ["field unsupported\nusage unsupported\n", "power 0\n", "lost_at 0\n", "mig 1\n"]
)
def test_a_gpu_without_power_is_refused(fake_nvml, more):
    clock = fake_nvml(H100 + more)
    with pytest.raises(Unavailable):
        NvmlPower([A], clock)


def test_a_gpu_lost_mid_run_is_named(fake_nvml):
    clock = fake_nvml(H100 + "lost_at 5\n")
    meter = NvmlPower([A], clock)
    clock.sleep(6)
    with pytest.raises(Lost, match=f"NVML lost {A}"):
        meter.read()


REAL = """
import time
from greenbench.meters import open_meters, residual, span
from greenbench.schema.spec import MeterSpec
with open_meters(MeterSpec(order=["nvml"]), [{uuid!r}]) as meters:
    start = [meter.read() for meter in meters.meters]
    time.sleep(2)
    counter, power = (
        span(meter, reading, meter.read(), 0.0)
        for meter, reading in zip(meters.meters, start, strict=True)
    )
    trace = meters.meters[1].trace(start[1].time_s, time.monotonic())
    print(counter.meter, power.meter, residual(counter, power)[0])
    print((power.end_j - power.start_j) / (power.end_s - power.start_s), *trace.power_w)
"""


def test_the_thread_samples_in_real_time_beside_the_counter(with_gpu):
    told = with_gpu(H100 + "tick 0.01\n", REAL.format(uuid=A))
    counter, power, apart, power_w, *trace = told.split()
    assert (counter, power) == ("nvml", "nvml_power")
    assert abs(float(apart)) < 0.02
    assert float(power_w) == pytest.approx(300, rel=0.01)
    assert len(trace) > 4
    assert set(trace) == {"300.0"}
