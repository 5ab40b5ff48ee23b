"""Zeus' counters as meters: the arithmetic on stand-ins of its public classes, the names on itself."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.moved_clock import MovedClock

from greenbench.machine.processes import OwnProcesses
from greenbench.meters import Unavailable, codes
from greenbench.meters import zeus as adapter
from greenbench.meters.meter import Place

INSTALLED = importlib.util.find_spec("zeus") is not None
needs_zeus = pytest.mark.skipif(not INSTALLED, reason="the optional extra zeus is not installed")
UUID = "GPU-aaaaaaaa-0000-1111-2222-333333333333"


class Gpus:
    """As Zeus' `AMDGPUs`: one GPU a name, each drawing 100 W more than the one before."""

    def __init__(self, clock, names, trusted=True):
        self._clock, self._names, self._trusted = clock, names, trusted

    def get_name(self, gpu_index):
        return self._names[gpu_index]

    def supports_get_total_energy_consumption(self, gpu_index):
        return self._trusted

    def get_total_energy_consumption(self, gpu_index):
        return int(1000 * 100 * (gpu_index + 1) * self._clock.now_s)


class Soc:
    """As Zeus' `AppleSilicon` and `Jetson`: every field it has grows by its watts."""

    def __init__(self, clock, **watts):
        self._clock, self._watts = clock, watts
        self.killed = 0
        self.process = SimpleNamespace(kill=self._kill, join=lambda: None)

    def _kill(self):
        self.killed += 1

    def get_available_metrics(self):
        return set(self._watts)

    def get_total_energy_consumption(self):
        now_s = self._clock.now_s
        return SimpleNamespace(**{name: 1000 * w * now_s for name, w in self._watts.items()})


@pytest.fixture
def metered(monkeypatch):
    """Turns a source into a meter on a clock we move; Zeus' own errors need Zeus' module."""
    clock = MovedClock()
    if not INSTALLED:
        errors = SimpleNamespace(ZeusBaseError=type("ZeusBaseError", (Exception,), {}))
        monkeypatch.setitem(sys.modules, "zeus", SimpleNamespace(exception=errors))
        monkeypatch.setitem(sys.modules, "zeus.exception", errors)

    def build(make):
        monkeypatch.setattr(adapter, "_open", lambda uuids, dram: make(clock))
        return adapter.ZeusMeter([], clock=clock), clock

    return build


def ten_seconds(meter, clock):
    start = meter.read()
    clock.sleep(10)
    end = meter.read()
    return end.energy_j - start.energy_j, codes(start, end)


@pytest.mark.parametrize(
    ("make", "joules", "boundary", "provenance"),
    [
        (lambda c: adapter.amd(Gpus(c, ["MI300X"]), 1), 1000, "gpu", "measured:counter:zeus"),
        (lambda c: adapter.amd(Gpus(c, ["MI300X"] * 2), 2), 3000, "gpu", "measured:counter:zeus"),
        (
            lambda c: adapter.apple(Soc(c, cpu_total_mj=20, gpu_mj=5, dram_mj=3), False),
            200,
            "cpu_package",
            "measured:counter:zeus",
        ),
        (
            lambda c: adapter.apple(Soc(c, cpu_total_mj=20, dram_mj=3), True),
            30,
            "dram",
            "measured:counter:zeus",
        ),
        (
            lambda c: adapter.jetson(Soc(c, cpu_energy_mj=4.5, total_energy_mj=15.5)),
            155,
            "module",
            "measured:integrated:zeus",
        ),
    ],
)
def test_millijoules_become_joules_of_the_right_boundary(
    metered, make, joules, boundary, provenance
):
    meter, clock = metered(make)
    counted, faults = ten_seconds(meter, clock)
    assert counted == pytest.approx(joules, rel=1e-3)
    assert faults == []
    assert (meter.boundary, meter.provenance) == (boundary, provenance)


def test_a_jetson_has_the_tick_of_its_poller_and_leaves_no_process(metered):
    soc = None

    def make(clock):
        nonlocal soc
        soc = Soc(clock, total_energy_mj=15.0)
        return adapter.jetson(soc)

    meter, _ = metered(make)
    assert meter.tick_s >= 0.1
    meter.close()
    assert soc.killed == 1


def test_a_jetson_without_the_input_rail_is_refused_and_leaves_no_process():
    soc = Soc(MovedClock(), cpu_energy_mj=4.0)
    with pytest.raises(Unavailable, match="total_energy_mj"):
        adapter.jetson(soc)
    assert soc.killed == 1


def test_the_joules_of_both_dies_are_labelled():
    source = adapter.amd(Gpus(MovedClock(), ["AMD Instinct MI250X"]), 1)
    assert "both dies" in source.note


@pytest.mark.parametrize(
    ("names", "trusted", "words"),
    [(["MI100"], False, "no trustworthy energy counter"), (["MI300A"], True, "not documented")],
)
def test_counters_that_cannot_be_trusted_are_refused(names, trusted, words):
    with pytest.raises(Unavailable, match=words):
        adapter.amd(Gpus(MovedClock(), names, trusted), 1)


def test_a_counter_that_stands_still_is_refused(metered):
    with pytest.raises(Unavailable, match="does not move"):
        metered(lambda clock: adapter.apple(Soc(clock, cpu_total_mj=0), False))


def test_a_gpus_counter_has_its_power_beside_it_and_a_cpus_its_memory():
    for uuids, names in (([UUID], ["zeus", "zeus_power"]), ([], ["zeus", "zeus_dram"])):
        place = Place(uuids, OwnProcesses())
        assert [part.name for part in adapter.ZeusMeter.parts(place)] == names


@pytest.mark.skipif(INSTALLED, reason="Zeus is installed")
def test_without_zeus_the_remedy_is_named():
    with pytest.raises(Unavailable, match="pip install"):
        adapter.ZeusMeter([])


@needs_zeus
def test_zeus_has_the_names_that_the_adapter_uses():
    from dataclasses import fields

    from zeus.device.gpu.common import GPUs
    from zeus.device.soc.apple import AppleSilicon, AppleSiliconMeasurement
    from zeus.device.soc.jetson import Jetson, JetsonMeasurement

    for kind in (AppleSilicon, Jetson):
        assert {"get_available_metrics", "get_total_energy_consumption"} <= set(dir(kind))
    assert {
        "get_name",
        "supports_get_total_energy_consumption",
        "get_total_energy_consumption",
    } <= set(dir(GPUs))
    apple, jetson = (
        {f.name for f in fields(kind)} for kind in (AppleSiliconMeasurement, JetsonMeasurement)
    )
    assert {"cpu_total_mj", "dram_mj"} <= apple
    assert "total_energy_mj" in jetson


@needs_zeus
def test_no_device_of_zeus_is_one_sentence():
    with pytest.raises(Unavailable, match="use rapl here"):
        adapter.ZeusMeter([])


# What Zeus asks of NVML beyond what our own meters do.
MORE = """
#include "nvml.c"
int nvmlDeviceGetArchitecture(void *h, unsigned *arch) { DEVICE(h) return *arch = 9, SUCCESS; }
"""

READ = f"""
import time
from greenbench.meters.zeus import ZeusMeter
meter = ZeusMeter([{UUID!r}])
start = meter.read()
time.sleep(1)
end = meter.read()
print(meter.boundary, (end.energy_j - start.energy_j) / (end.time_s - start.time_s))
"""


@needs_zeus
def test_zeus_itself_reads_300_watts_off_a_fake_gpu(tmp_path):
    source, library = tmp_path / "more.c", tmp_path / "libnvidia-ml.so.1"
    source.write_text(MORE)
    fakes = Path(__file__).parents[1] / "helpers" / "fakes"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-I", fakes, "-o", library, source, "-lm"], check=True
    )
    (tmp_path / "nvml.txt").write_text(f"device {UUID}\npower 300\ntick 0.01\n")
    fake = {"FAKE_NVML": str(tmp_path / "nvml.txt"), "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", READ],
        env=os.environ | fake,
        capture_output=True,
        text=True,
        check=True,
    )
    boundary, power_w = done.stdout.split()
    assert boundary == "gpu"
    assert float(power_w) == pytest.approx(300, rel=0.05)
