"""The device's own ceiling, measured for real."""

import pytest
import torch

from greenbench.machine import roofline
from greenbench.machine.detect import describe
from greenbench.machine.device_lock import device_lock, device_lock_if_free


def test_a_cpu_reads_and_multiplies_at_a_plausible_pace():
    """No CPU reads under 0.5 GB or over 2 TB a second, nor multiplies as a GPU does."""
    found = roofline.measure(torch.device("cpu"), 1 << 30)
    assert 5e8 < found.bytes_per_s < 2e12
    assert 1e8 < found.flops_per_s < 1e14


def test_it_is_measured_once_as_it_would_disturb_who_measures_meanwhile(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path))
    cpu = torch.device("cpu")
    first = roofline.known(("cpu",), cpu, lambda: 1 << 30)
    monkeypatch.setattr(roofline, "measure", lambda *_: pytest.fail("it was measured again"))
    assert roofline.known(("cpu",), cpu, lambda: 1 << 30) == first
    with pytest.raises(pytest.fail.Exception):
        roofline.known(("GPU-another",), cpu, lambda: 1 << 30)
    (kept,) = (tmp_path / "roofline").iterdir()
    kept.write_text("{")
    monkeypatch.setattr(roofline, "measure", lambda *_: first)
    assert roofline.known(("cpu",), cpu, lambda: 1 << 30) == first


def test_it_is_not_measured_while_a_run_is_on_the_device(monkeypatch, tmp_path):
    """They would disturb each other, and the ceiling would stay too low until the machine is booted again."""
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path))
    cpu, both = torch.device("cpu"), ("GPU-a", "GPU-b")
    with device_lock(("GPU-b",), pytest.fail):
        with monkeypatch.context() as patch:
            patch.setattr(roofline, "measure", lambda *_: pytest.fail("a run was on it"))
            assert roofline.known(both, cpu, lambda: 1 << 30) is None
        alone = roofline.known(("GPU-a",), cpu, lambda: 1 << 30)  # whose lock was let go again
        assert alone is not None
    assert roofline.known(both, cpu, lambda: 1 << 30) is not None


def test_it_is_measured_with_the_device_held(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path))
    seen = []

    def measure(device, free_bytes):
        with device_lock_if_free(("cpu",)) as mine:
            seen.append(mine)
        return roofline.Roof(1.0, 2.0)

    monkeypatch.setattr(roofline, "measure", measure)
    assert roofline.known(("cpu",), torch.device("cpu"), lambda: 1 << 30) == (1.0, 2.0)
    with device_lock_if_free(("cpu",)) as mine:
        assert (mine, seen) == (True, [False])


def test_where_it_is_not_known_a_run_is_told_why(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(roofline, "measure", lambda *_: roofline.Roof(1.23456e9, 2e12))
    with device_lock(("cpu",), pytest.fail):
        machine, facts = describe("cpu", progress=None)
    assert machine.device == "cpu"
    assert facts["roofline"] is None
    assert "another run was on it" in facts["roofline_missing"]
    _, facts = describe("cpu", progress=None)
    assert facts["roofline"] == {"bytes_per_s": 1.23e9, "flops_per_s": 2e12}
    assert "roofline_missing" not in facts


def test_the_best_of_the_tries_counts_and_the_first_is_not_one(monkeypatch):
    clock = iter([0.0, 0.1, 1.0, 4.0, 5.0, 7.0, 8.0, 11.0, 12.0, 15.0, 16.0, 19.0])
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: next(clock))
    done = []
    assert roofline._best_s(lambda: done.append(1), torch.device("cpu")) == pytest.approx(2.0)
    assert len(done) == 1 + roofline.TRIES


def test_little_free_memory_is_left_alone():
    found = roofline.measure(torch.device("cpu"), 16 << 20)  # reads 1 MiB of it
    assert found.bytes_per_s > 0
