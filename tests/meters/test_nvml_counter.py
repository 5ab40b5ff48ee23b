"""The NVML counter, through the real pynvml, on GPUs that do what a script says."""

import subprocess
import sys
import threading

import pynvml
import pytest

from greenbench.errors import Lost, Unavailable
from greenbench.machine import gpus
from greenbench.meters import nvml_counter
from greenbench.meters.meter import at_edge, codes, look_s, span

A = "GPU-aaaaaaaa-0000-1111-2222-333333333333"
B = "GPU-bbbbbbbb-0000-1111-2222-333333333333"
H100 = f"device {A}\npower 300\n"


def joules(meter, clock, seconds):
    start = meter.read()
    clock.sleep(seconds)
    end = meter.read()
    return end.energy_j - start.energy_j, codes(start, end)


def test_300_watts_for_10_seconds_read_3000_joules(fake_nvml):
    clock = fake_nvml(H100)
    meter = nvml_counter.NvmlCounter([A], clock)
    start = at_edge(meter, clock)
    clock.sleep(10)
    spanned = span(meter, start, meter.read(), origin_s=0.0)
    assert spanned.end_j - spanned.start_j == pytest.approx(3000, rel=0.01)
    assert spanned.end_s - spanned.start_s == pytest.approx(10)
    assert (spanned.meter, spanned.boundary) == ("nvml", "gpu")
    assert spanned.provenance == "measured:counter:nvml"
    assert spanned.low_j is None


@pytest.mark.parametrize("tick_s", [0.02, 0.1])
def test_the_tick_is_found(fake_nvml, tick_s):
    clock = fake_nvml(H100 + f"tick {tick_s}\n")
    assert nvml_counter.NvmlCounter([A], clock).tick_s == pytest.approx(tick_s, rel=0.1)


def test_a_reading_at_an_edge_loses_no_part_of_a_tick(fake_nvml):
    clock = fake_nvml(f"device {A}\npower 100 5 400\ntick 0.1\n")
    meter = nvml_counter.NvmlCounter([A], clock)
    edge = at_edge(meter, clock)
    assert edge.time_s % 0.1 < 0.1 / 20
    assert at_edge(meter, clock).time_s - edge.time_s == pytest.approx(0.1, abs=0.005)


def test_a_square_wave_is_counted_whole(fake_nvml):
    clock = fake_nvml(f"device {A}\nsquare 0.1 0.25 600 100\ntick 0.02\n")
    meter = nvml_counter.NvmlCounter([A], clock)
    start = at_edge(meter, clock)
    clock.sleep(10)
    mean_w = 0.25 * 600 + 0.75 * 100
    assert meter.read().energy_j - start.energy_j == pytest.approx(10 * mean_w, rel=0.01)


def test_gpus_are_summed_and_one_named_twice_counts_once(fake_nvml):
    clock = fake_nvml(H100 + f"device {B}\npower 200\nstart_mj 123456789\n")
    meter = nvml_counter.NvmlCounter([A, B, A], clock)
    assert joules(meter, clock, 10) == (pytest.approx(5000, rel=0.02), [])


@pytest.mark.parametrize("uuid", [A, A.removeprefix("GPU-"), "GPU-aaaa", A.upper()])
def test_uuids_are_understood_as_torch_and_cuda_write_them(fake_nvml, uuid):
    clock = fake_nvml(f"device {B}\npower 50\n" + H100)
    meter = nvml_counter.NvmlCounter([uuid], clock)
    assert [gpu.uuid for gpu in meter.gpus] == [A]
    assert joules(meter, clock, 10)[0] == pytest.approx(3000, rel=0.02)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (H100 + "counter unsupported\n", "does not report its energy"),
        (H100 + "stall_at 0\n", "does not move"),
        (H100 + "mig 1\n", "MIG mode"),
        (H100 + "virtualization 2\n", "vGPU"),
        (H100 + "lost_at 0\n", "knows no GPU"),
        (H100 + "lost_at 0.2\n", "GPU is lost"),
        (f"device {B}\npower 300\n", "knows no GPU"),
        (H100 + f"device {A[:-1]}4\npower 300\n", "fits 2 GPUs"),
        (f"device {B}\nmig_uuid MIG-{A[4:]}\n", "MIG mode"),
        (H100 + "name NVIDIA GB200\n", "not documented"),
    ],
)
def test_a_gpu_that_cannot_be_counted_is_refused_in_one_sentence(fake_nvml, script, sentence):
    clock = fake_nvml(script)
    with pytest.raises(Unavailable, match=sentence) as refusal:
        nvml_counter.NvmlCounter([A[4:-1] if "fits" in sentence else A[4:]], clock)
    assert str(refusal.value).endswith(".")
    assert str(refusal.value).count(". ") == 0


def test_a_counter_that_stops_is_said_to_have_stopped(fake_nvml):
    clock = fake_nvml(H100 + "stall_at 20\n")
    meter = nvml_counter.NvmlCounter([A], clock)
    assert joules(meter, clock, 10)[1] == []
    clock.sleep(20)
    assert joules(meter, clock, 10) == (0, ["counter_stalled"])


def looked_at(meter, clock):
    """As its thread would, when the clock moves."""
    clock.step_s = look_s(meter.tick_s)
    clock.listeners.append(lambda now_s: meter.read())
    return meter


def test_a_counter_that_stops_within_a_window_and_goes_on_is_seen(fake_nvml):
    clock = fake_nvml(H100 + "stall_at 7 10\n")
    meter = looked_at(nvml_counter.NvmlCounter([A], clock), clock)
    energy_j, faults = joules(meter, clock, 15)
    assert energy_j == pytest.approx(300 * 12, rel=0.02)
    assert set(faults) == {"counter_stalled"}
    assert joules(meter, clock, 10)[1] == []


def test_a_jump_is_reported_and_is_no_energy(fake_nvml):
    clock = fake_nvml(H100 + "jump_at 7 50000000\n")
    meter = looked_at(nvml_counter.NvmlCounter([A], clock), clock)
    energy_j, faults = joules(meter, clock, 10)
    assert energy_j == pytest.approx(3000, rel=0.05)
    assert faults == ["counter_jump"]
    assert joules(meter, clock, 10) == (pytest.approx(3000, rel=0.02), [])


def test_a_step_beyond_what_the_gpu_may_be_allowed_is_a_jump(fake_nvml):
    """1 kJ within a look of 0.4 s: under 5 kW, but no GPU of at most 350 W draws it."""
    clock = fake_nvml(H100 + "limit 350 100 350\njump_at 7 1000000\n")
    meter = looked_at(nvml_counter.NvmlCounter([A], clock), clock)
    energy_j, faults = joules(meter, clock, 10)
    assert faults == ["counter_jump"]
    assert energy_j == pytest.approx(3000, rel=0.05)


def test_a_slow_driver_s_calls_are_timed(fake_nvml, monkeypatch):
    clock = fake_nvml(H100)
    meter = nvml_counter.NvmlCounter([A], clock)
    read = pynvml.nvmlDeviceGetTotalEnergyConsumption
    slow = lambda gpu: (clock.sleep(0.03), read(gpu))[1]  # noqa: E731
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", slow)
    start = at_edge(meter, clock)
    clock.sleep(10)
    found = span(meter, start, at_edge(meter, clock), 0.0)
    assert found.read_s == pytest.approx(0.03)


def test_it_is_looked_at_in_the_background_until_it_is_closed(fake_nvml):
    meter = nvml_counter.NvmlCounter([A], fake_nvml(H100))
    seen = threading.Event()
    read, meter.read = meter.read, lambda: (seen.set(), read())[1]
    meter.start()
    assert seen.wait(30)
    meter.close()


def test_a_counter_that_steps_once_a_second_moves(fake_nvml):
    clock = fake_nvml(H100 + "tick 1\n")
    meter = nvml_counter.NvmlCounter([A], clock)
    assert meter.tick_s == pytest.approx(1, rel=0.01)
    assert joules(meter, clock, 100) == (pytest.approx(30000, rel=0.02), [])


def test_one_stopped_counter_does_not_hide_behind_another(fake_nvml):
    clock = fake_nvml(H100 + f"device {B}\npower 200\nstall_at 20\n")
    meter = nvml_counter.NvmlCounter([A, B], clock)
    clock.sleep(30)
    assert joules(meter, clock, 10)[1] == ["counter_stalled"]


def test_a_reset_is_reported_and_the_total_never_decreases(fake_nvml):
    clock = fake_nvml(H100 + "start_mj 900000000\nreset_at 20\n")
    meter = nvml_counter.NvmlCounter([A], clock)
    clock.sleep(15)
    energy_j, faults = joules(meter, clock, 10)
    assert energy_j >= 0
    assert faults == ["counter_reset"]
    assert joules(meter, clock, 10) == (pytest.approx(3000, rel=0.02), [])


def test_a_gpu_lost_mid_run_is_named(fake_nvml):
    clock = fake_nvml(H100 + "lost_at 20\n")
    meter = nvml_counter.NvmlCounter([A], clock)
    clock.sleep(30)
    with pytest.raises(Lost, match=f"NVML lost {A}.*GPU is lost") as loss:
        meter.read()
    assert loss.value.code == "device_lost"


def test_grace_hopper_counts_its_module_and_says_so(fake_nvml):
    script = H100 + "name NVIDIA GH200 480GB\ncounter module\nmodule_extra 100\n"
    clock = fake_nvml(script)
    meter = nvml_counter.NvmlCounter([A], clock)
    assert meter.boundary == "module"
    assert "Grace CPU" in meter.note
    assert joules(meter, clock, 10)[0] == pytest.approx(4000, rel=0.02)


def test_unlike_boundaries_are_not_summed(fake_nvml):
    clock = fake_nvml(H100 + f"device {B}\nname NVIDIA GH200 480GB\npower 200\n")
    with pytest.raises(Unavailable, match="sum means nothing"):
        nvml_counter.NvmlCounter([A, B], clock)


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("", []),
        ("0", [A]),
        ("1,0", [B, A]),
        ("0,7,1", [A]),
        ("0,-1,1", [A]),
        ("GPU-bbbb", [B]),
        (f"{B},{A}", [B, A]),
        ("GPU-", []),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(fake_nvml, visible, uuids):
    fake_nvml(H100 + f"device {B}\npower 200\n")
    assert gpus.visible_uuids(visible) == uuids


def test_all_gpus_are_visible_where_the_variable_is_unset(fake_nvml, monkeypatch):
    fake_nvml(H100 + f"device {B}\npower 200\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.visible_uuids() == [A, B]


def test_mig_slices_and_indices_of_unlike_gpus_are_refused(fake_nvml, monkeypatch):
    fake_nvml(H100 + f"device {B}\nname NVIDIA L4\n")
    with pytest.raises(Unavailable, match="MIG mode"):
        gpus.visible_uuids(f"MIG-{A}/1/0")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    with pytest.raises(Unavailable, match="PCI_BUS_ID"):
        gpus.visible_uuids("0")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert gpus.visible_uuids("1") == [B]


def test_without_a_driver_the_sentence_says_so():
    code = (
        "from greenbench.machine import gpus as nvml\n"
        "try: nvml.start()\n"
        "except Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if not done.stdout:
        pytest.skip("this machine has an NVIDIA driver")
    assert done.stdout.startswith("Unavailable NVML")


REAL = """
import time
from greenbench.meters import open_meters, span
from greenbench.schema.spec import MeterSpec
with open_meters(MeterSpec(order=["nvml"]), [{uuid!r}]) as meters:
    meter = meters.primary
    start = meter.read()
    time.sleep(1)
    s = span(meter, start, meter.read(), 0.0)
    print((s.end_j - s.start_j) / (s.end_s - s.start_s), meters.refused)
"""


def test_pynvml_finds_the_library_itself_and_counts_in_real_time(with_gpu):
    told = with_gpu(H100 + "tick 0.002\n", REAL.format(uuid=A))
    power_w, refused = told.split(maxsplit=1)
    assert float(power_w) == pytest.approx(300, rel=0.01)
    assert refused.strip() == "{}"
