"""What is made of a profiler's events: where they do not show what ran, nothing is claimed of it."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from greenbench.engines.timeline import Spent
from greenbench.engines.transformers import tracing
from greenbench.errors import Unavailable

GPU, CPU = torch.device("cuda"), torch.device("cpu")


class Event:
    """As torch's profiler gives it."""

    def __init__(self, name, start_ns, end_ns, number=0, device=DeviceType.CPU, linked=0):
        self._name, self._ns, self._device = name, (start_ns, end_ns), device
        self._number, self._linked = number, linked

    def name(self):
        return self._name

    def device_type(self):
        return self._device

    def start_ns(self):
        return self._ns[0]

    def end_ns(self):
        return self._ns[1]

    def duration_ns(self):
        return self._ns[1] - self._ns[0]

    def correlation_id(self):
        return self._number

    def linked_correlation_id(self):
        return self._linked

    def start_thread_id(self):
        return 1

    def is_user_annotation(self):
        return False

    def structured_input_shapes(self):
        return []

    dtypes = structured_input_shapes


@pytest.fixture
def traced(monkeypatch):
    """The trace of work of which the profiler saw `events`, and the system how long its thread ran."""

    def traced(events, device, wall_s=1.0, ran_s=1.0, others_s=0.0):
        @contextmanager
        def profile(**_):
            results = SimpleNamespace(events=lambda: events)
            yield SimpleNamespace(profiler=SimpleNamespace(kineto_results=results))

        monkeypatch.setattr(tracing, "profile", profile)
        monkeypatch.setattr(tracing, "_spent", lambda _: Spent(wall_s, ran_s, 0.0, others_s))
        return tracing.traced(print, device)

    return traced


def launches(many):
    return [
        event
        for place in range(many)
        for event in (
            Event("aten::mm", 1000 * place, 1000 * place + 500, place + 1),
            Event(
                "cudaLaunchKernel",
                1000 * place + 100,
                1000 * place + 200,
                place + 1,
                linked=place + 1,
            ),
        )
    ]


def kernels(many):
    return [
        Event("gemm", 1000 * place, 1000 * place + 900, 0, DeviceType.CUDA, place + 1)
        for place in range(many)
    ]


@pytest.mark.parametrize("seen", [0, 4])
def test_a_gpu_that_torch_may_not_look_into_gives_no_trace(traced, seen):
    with pytest.raises(Unavailable, match=f"saw {seen} kernels on the GPU for 10 launches"):
        traced(launches(10) + kernels(seen), GPU)


def test_the_kernels_that_a_gpu_ran_are_its_operators(traced):
    (operation,) = traced(launches(10) + kernels(10), GPU).operations
    assert (operation.name, operation.calls) == ("aten::mm", 10)
    assert operation.seconds == pytest.approx(9e-6)


def test_what_torch_compiled_for_a_processor_is_neither_an_operator_nor_python(traced):
    """Of 1 s the step took 0.8 s, and the operator that it called 0.1 s of these."""
    events = [
        Event("Torch-Compiled Region: 0/0", 0, 800_000_000),
        Event("aten::mm", 100_000_000, 200_000_000),
    ]
    found = traced(events, CPU)
    assert [(each.name, each.seconds) for each in found.operations] == [
        ("aten::mm", pytest.approx(0.1))
    ]
    assert found.untold_s == pytest.approx(0.7)
    assert (found.between_s, found.asleep_s) == (pytest.approx(0.2), 0.0)


@pytest.mark.parametrize(
    ("others_s", "asleep_s", "untold_s"),
    [(0.0, 0.2, 0.0), (0.1, 0.1, 0.1), (2.0, 0.0, 0.2)],
    ids=["no other ran", "half of it", "others ran meanwhile"],
)
def test_sleep_is_waiting_only_where_it_is_surely_outside_of_operators(
    traced, others_s, asleep_s, untold_s
):
    """Operators took 0.6 s of 1 s, of which 0.2 s were slept: in their midst others may have worked."""
    found = traced([Event("aten::mm", 0, 600_000_000)], CPU, ran_s=0.8, others_s=others_s)
    assert found.asleep_s == pytest.approx(asleep_s)
    assert found.untold_s == pytest.approx(untold_s)
    assert found.between_s == pytest.approx(0.4 - untold_s)
