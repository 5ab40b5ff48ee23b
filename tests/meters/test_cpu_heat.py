"""How a CPU fares, on trees as the kernel's written to disk."""

import pytest

from greenbench.meters.cpu_heat import CpuHeat


@pytest.fixture
def write(tmp_path):
    def put(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{text}\n")

    return put


def cpu(write, number, package, slowed, slowed_ms=None):
    folder = f"devices/system/cpu/cpu{number}"
    write(f"{folder}/topology/physical_package_id", package)
    write(f"{folder}/thermal_throttle/package_throttle_count", slowed)
    if slowed_ms is not None:
        write(f"{folder}/thermal_throttle/package_throttle_total_time_ms", slowed_ms)


def test_the_hottest_package_counts_and_no_core(tmp_path, write):
    for sensor, (label, heat) in enumerate((("Package id 0", 63_000), ("Core 0", 90_000))):
        write(f"class/hwmon/hwmon0/temp{sensor}_label", label)
        write(f"class/hwmon/hwmon0/temp{sensor}_input", heat)
    write("class/hwmon/hwmon0/name", "coretemp")
    write("class/hwmon/hwmon1/name", "nvme")
    write("class/hwmon/hwmon1/temp1_label", "Tctl")
    write("class/hwmon/hwmon1/temp1_input", 99_000)
    write("class/hwmon/hwmon2/name", "k10temp")
    write("class/hwmon/hwmon2/temp1_label", "Tctl")
    write("class/hwmon/hwmon2/temp1_input", 64_600)
    telemetry = CpuHeat(tmp_path).look(7.0)
    assert (telemetry.time_s, telemetry.temperature_c) == (7.0, 65)


def test_a_package_that_heat_has_slowed_since_is_told_once(tmp_path, write):
    for number, package in enumerate((0, 0, 1, 1)):
        cpu(write, number, package, 5)
    heat = CpuHeat(tmp_path)
    assert heat.codes() == []
    for number in (2, 3):
        cpu(write, number, 1, 6)
    assert [heat.codes(), heat.codes()] == [["throttled"], []]


def test_heat_is_told_when_it_begins_and_when_it_is_over(tmp_path, write):
    """The kernel counts an event as it begins, and its time once it has ended."""
    cpu(write, 0, 0, 5, 120)
    heat = CpuHeat(tmp_path)
    cpu(write, 0, 0, 6, 120)
    assert [heat.codes(), heat.codes()] == [["throttled"], []]
    cpu(write, 0, 0, 6, 3120)
    assert [heat.codes(), heat.codes()] == [["throttled"], []]


def test_a_count_that_could_not_be_read_once_is_not_forgotten(tmp_path, write):
    cpu(write, 0, 0, 5)
    heat = CpuHeat(tmp_path)
    cpu(write, 0, 0, "")
    assert heat.codes() == []
    cpu(write, 0, 0, 9)
    assert heat.codes() == ["throttled"]


def test_what_a_machine_does_not_tell_is_no_fault(tmp_path, write):
    assert CpuHeat(tmp_path).look(0.0).temperature_c is None
    cpu(write, 0, 0, 5)
    heat = CpuHeat(tmp_path)
    cpu(write, 0, 0, "gone")
    assert heat.codes() == []
