"""Calibration: what it measures, what it stores, and what records can cite."""

import json

import pynvml
import pytest
from helpers import factory

from greenbench.cli.main import main
from greenbench.doctor.calibrate import newest_a_a, noise_floor, read_cost, sampler_cost
from greenbench.machine.detect import Machine
from greenbench.meters import open_meters
from greenbench.records import calibrations
from greenbench.records.store import Store
from greenbench.schema import calibration
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.spec import MeterSpec

NAME = "Example CPU @ 2.00GHz"
MACHINE = Machine("cpu", NAME, 1 << 30)
UUID = "GPU-aaaaaaaa-0000-1111-2222-333333333333"


def ratio(low, high, provenance="measured:clock", n=5):
    middle = (low + high) / 2
    return Quantity(value=middle, unit="ratio", provenance=provenance, n=n, low=low, high=high)


def a_a(**changes):
    """An A/A record of five blocks."""
    changes = {"name": "none", "spec": factory.spec(technique=[])} | changes
    energy = ratio(0.98, 1.04, "measured:counter:rapl")
    ratios = {"tokens_per_s": ratio(0.99, 1.01), "energy_per_token": energy}
    found = factory.record(**changes)
    return found.model_copy(update={"ratios": found.ratios | ratios | changes.get("ratios", {})})


def example(**changes):
    cost = calibration.MeterCost(
        meter="rapl",
        boundary="cpu_package",
        provenance="measured:counter:rapl",
        tick_s=0.001,
        read=missing("s/read", "not timed in this example"),
    )
    fields = {
        "device_name": NAME,
        "date": "2025-01-02T03:04:05+00:00",
        "versions": {"greenbench": "0.1.0"},
        "meters": [cost],
        "refused": {"nvml": "no GPU here"},
        "sampler": missing("CPU s/s", "no GPU here"),
        "noise": noise_floor(a_a()),
    }
    return calibration.Calibration(**fields | changes)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_device_that_was_never_calibrated_has_no_id():
    assert calibrations.calibration_id(NAME) is None


def test_what_is_stored_is_found_again_by_the_device_s_name(cache):
    path = calibrations.write(example())
    assert path == cache / "calibration" / "example-cpu-2-00ghz.json"
    assert calibrations.read(NAME) == example()
    assert calibrations.calibration_id(NAME) == example().id == json.loads(path.read_text())["id"]
    assert calibrations.calibration_id("Example CPU @ 2.00 GHz") is None  # same file, other device


def test_the_id_is_of_the_content():
    assert example().id == example().id
    assert example().id != example(date="2025-01-03T03:04:05+00:00").id


@pytest.mark.parametrize(
    "spoil", [lambda text: text.replace("0.001", "0.1"), lambda text: text[:99], lambda text: "[]"]
)
def test_a_file_that_was_changed_is_no_calibration(spoil):
    path = calibrations.write(example())
    path.write_text(spoil(path.read_text()))
    assert calibrations.calibration_id(NAME) is None


def test_the_noise_floor_is_the_half_width_of_the_a_a_intervals():
    floor = noise_floor(a_a())
    assert floor.tokens_per_s.value == pytest.approx(0.01)
    assert floor.energy_per_token.value == pytest.approx(0.03 / 1.01)
    assert floor.energy_per_token.provenance == "measured:counter:rapl"
    assert (floor.blocks, floor.window_s) == (5, 1.0)


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        (ratio(0.99, 1.01, "estimated:model"), "estimated"),
        (missing("ratio", "no meter answered"), "no meter answered"),
    ],
)
def test_energy_that_was_not_measured_has_no_noise_floor(energy, words):
    floor = noise_floor(a_a(ratios={"energy_per_token": energy}))
    assert floor.energy_per_token.value is None
    assert words in floor.energy_per_token.reason


def test_the_newest_fitting_a_a_record_is_taken(tmp_path):
    store = Store(tmp_path)
    others = {
        "a technique": factory.spec(),
        "another device": factory.spec(technique=[], device={"kind": "cpu", "name": "Other"}),
    }
    for spec in others.values():
        store.write(a_a(spec=spec, started_at="2025-09-09T00:00:00+00:00"))
    few = a_a(
        spec=factory.spec(technique=[], seed=7),
        started_at="2025-09-09T00:00:00+00:00",
        ratios={"tokens_per_s": ratio(0.9, 1.1, n=2)},
    )
    spoiled = a_a(
        spec=factory.spec(technique=[], seed=8),
        started_at="2025-09-09T00:00:00+00:00",
        validity="invalid",
    )
    for record in (few, spoiled):
        store.write(record)
    assert newest_a_a(tmp_path, MACHINE) is None
    for seed, day in ((1, "2025-02-01"), (2, "2025-03-01"), (3, "2025-01-01")):
        spec = factory.spec(technique=[], seed=seed)
        store.write(a_a(spec=spec, started_at=f"{day}T00:00:00+00:00"))
    assert newest_a_a(tmp_path, MACHINE).started_at.startswith("2025-03-01")


def test_readings_are_timed():
    with open_meters(MeterSpec(order=["estimate"]), []) as found:
        cost = read_cost(found.meters[0])
    assert cost.meter == "estimate"
    assert cost.tick_s == found.meters[0].tick_s
    assert cost.read.n >= 1
    assert cost.read.value > 0
    assert "interval" in cost.read.reason


def test_a_cpu_has_no_sampler_and_says_so():
    cost = sampler_cost([])
    assert cost.value is None
    assert "NVML" in cost.reason


@pytest.fixture
def fake_gpu(tmp_path, monkeypatch):
    """The real pynvml on the fake library, in real time."""
    import ctypes
    import subprocess
    from pathlib import Path

    source = Path(__file__).parents[1] / "helpers" / "fakes" / "nvml.c"
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-lm"], check=True)
    (tmp_path / "nvml.txt").write_text(f"device {UUID}\npower 300\n")
    monkeypatch.setenv("FAKE_NVML", str(tmp_path / "nvml.txt"))
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})


def test_the_sampler_s_cost_is_a_small_part_of_a_core(fake_gpu):
    cost = sampler_cost([UUID], seconds=0.4)
    assert cost.n == 5
    assert cost.low <= cost.value <= cost.high
    assert 0 < cost.value < 1


@pytest.mark.slow
def test_the_command_calibrates_with_a_record_that_is_there(monkeypatch, tmp_path, capsys):
    """The A/A run itself is one of the integration tests' runs: it is not made again here."""
    from greenbench.machine.detect import detect

    machine = detect("auto")
    device = {"kind": machine.device, "name": machine.device_name}
    monkeypatch.chdir(tmp_path)
    record = a_a(spec=factory.spec(technique=[], device=device))
    Store(tmp_path / "results").write(record)
    assert main(["doctor", "--calibrate"]) == 0
    said = capsys.readouterr()
    stored = calibrations.read(machine.device_name)
    assert stored.noise.record == record.key
    assert stored.noise.tokens_per_s.value == pytest.approx(0.01)
    assert {cost.meter for cost in stored.meters}
    assert all(cost.read.value > 0 for cost in stored.meters)
    assert stored.id in said.out
    assert "±1 % over 5 blocks" in said.out
    assert "\r" not in said.err  # a log is no terminal
    assert "\x1b" not in said.err
