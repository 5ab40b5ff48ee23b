"""The device's own ceiling, measured for real."""

import pytest
import torch

from greenbench.machine import roofline


def test_a_cpu_reads_and_multiplies_at_a_plausible_pace():
    """No CPU reads under 0.5 GB or over 2 TB a second, nor multiplies as a GPU does."""
    found = roofline.measure(torch.device("cpu"), 1 << 30)
    assert 5e8 < found.bytes_per_s < 2e12
    assert 1e8 < found.flops_per_s < 1e14


def test_it_is_measured_once_as_it_would_disturb_who_measures_meanwhile(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path))
    cpu = torch.device("cpu")
    first = roofline.known(("cpu",), cpu, 1 << 30)
    monkeypatch.setattr(roofline, "measure", lambda *_: pytest.fail("it was measured again"))
    assert roofline.known(("cpu",), cpu, 1 << 30) == first
    with pytest.raises(pytest.fail.Exception):
        roofline.known(("GPU-another",), cpu, 1 << 30)
    (kept,) = (tmp_path / "roofline").iterdir()
    kept.write_text("{")
    monkeypatch.setattr(roofline, "measure", lambda *_: first)
    assert roofline.known(("cpu",), cpu, 1 << 30) == first


def test_the_best_of_the_tries_counts_and_the_first_is_not_one(monkeypatch):
    clock = iter([0.0, 0.1, 1.0, 4.0, 5.0, 7.0, 8.0, 11.0, 12.0, 15.0, 16.0, 19.0])
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: next(clock))
    done = []
    assert roofline._best_s(lambda: done.append(1), torch.device("cpu")) == pytest.approx(2.0)
    assert len(done) == 1 + roofline.TRIES


def test_little_free_memory_is_left_alone():
    found = roofline.measure(torch.device("cpu"), 16 << 20)  # reads 1 MiB of it
    assert found.bytes_per_s > 0
