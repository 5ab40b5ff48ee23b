"""Whether runs on GPUs of one machine leave each other alone: what is worked out, and what is refused."""

from math import exp, log, sqrt
from statistics import stdev

import pytest
from helpers import factory

from greenbench.campaign.bench import Asked, bench
from greenbench.doctor import neighbours
from greenbench.doctor.neighbours import check, known, moved
from greenbench.errors import UserError
from greenbench.machine.device_lock import device_lock
from greenbench.records import neighbour_checks
from greenbench.schema.calibration import NeighbourCheck
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S
from greenbench.schema.quantity import Quantity, missing

TWO = [f"GPU-{number}{number * 7}-0000-1111-2222-333333333333" for number in (1, 2)]
BOX = "".join(f"device {uuid}\n" for uuid in TWO)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def at(factor):
    """A record whose windows draw so many times what those of another do."""

    def scaled(span):
        return span.model_copy(
            update={"end_j": span.start_j + factor * (span.end_j - span.start_j)}
        )

    found = factory.record()
    windows = [
        window.model_copy(update={"energy": [scaled(span) for span in window.energy]})
        for window in found.windows
    ]
    return found.model_copy(update={"windows": windows})


@pytest.mark.parametrize("moves", [1.0, 1.2])
def test_a_steady_drift_of_the_machine_cancels(moves):
    """Each run draws 10 % more than the one before it."""
    alone = [at(1.1**step) for step in (0, 2, 4, 6)]
    beside = [at(moves * 1.1**step) for step in (1, 3, 5)]
    found = moved(ENERGY_PER_TOKEN, alone, beside)
    assert found.value == pytest.approx(moves)
    assert found.low == pytest.approx(moves)  # every round moved alike
    assert found.n == 3
    assert found.is_measured
    assert moved(TOKENS_PER_S, alone, beside).value == pytest.approx(1)


def test_what_rounds_differ_by_is_in_the_interval():
    """By hand: Student's t with two degrees of freedom of the three log-ratios."""
    found = moved(ENERGY_PER_TOKEN, [at(1)] * 4, [at(factor) for factor in (1.0, 1.01, 1.02)])
    logs = [log(factor) for factor in (1.0, 1.01, 1.02)]
    mean, half = sum(logs) / 3, 4.302653 * stdev(logs) / sqrt(3)
    assert found.value == pytest.approx(exp(mean))
    assert (found.low, found.high) == pytest.approx((exp(mean - half), exp(mean + half)))


def test_nothing_is_looked_at_while_a_run_is_on_a_gpu(fake_nvml):
    fake_nvml(BOX)
    with (
        device_lock([TWO[1]], print),
        pytest.raises(UserError, match="A run is on a GPU of this machine"),
    ):
        check(print)


def told(low, high):
    return Quantity(
        value=(low + high) / 2, unit="ratio", provenance="measured:counter:nvml", n=10, low=low, high=high
    )  # fmt: skip


def example(**changes):
    fields = {
        "device_name": "H100",
        "date": "2026-11-29T00:00:00+00:00",
        "neighbours": 1,
        "moved": {"energy_per_token": told(0.99, 1.01), "tokens_per_s": told(0.99, 1.01)},
        "ratios": {"energy_per_token": told(0.985, 1.015), "tokens_per_s": told(0.99, 1.01)},
    }
    return NeighbourCheck(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({}, True),
        ({"moved": {"energy_per_token": told(1.0, 1.021)}}, False),
        ({"moved": {"energy_per_token": told(0.97, 1.0)}}, False),
        ({"ratios": {"energy_per_token": told(0.9, 1.1)}}, False),
        ({"moved": {}, "ratios": {}}, False),
        ({"moved": {"energy_per_token": missing("ratio", "one block")}}, False),
    ],
)
def test_it_has_passed_where_all_is_shown_to_be_the_same(changes, passed):
    assert example(**changes).passed is passed


def test_the_doctor_says_what_is_known(fake_nvml):
    assert known() == {}
    fake_nvml(BOX)
    assert "greenbench doctor --neighbours" in known()["neighbours"]
    neighbour_checks.write(example(), TWO)
    assert known()["neighbours"].startswith("ok: energy_per_token, moved 1.000x (0.990-1.010); ")
    neighbour_checks.write(example(moved={"tokens_per_s": missing("ratio", "one block")}), TWO)
    assert known()["neighbours"].startswith("runs beside each other are not shown to be the same: ")
    assert "tokens_per_s, moved one block" in known()["neighbours"]


@pytest.mark.parametrize(
    ("script", "said"),
    [("", "no neighbours to look at"), (f"device {TWO[0]}\n", "1 whole GPUs here")],
)
def test_where_there_are_none_it_says_so(fake_nvml, script, said):
    fake_nvml(script)
    with pytest.raises(UserError, match=said):
        check(print)


def test_estimated_joules_tell_nothing_of_neighbours(fake_nvml, monkeypatch):
    fake_nvml(BOX)
    record = factory.record()
    guess = record.ratios["energy_per_token"].model_copy(update={"provenance": "estimated:model"})
    ratios = record.ratios | {"energy_per_token": guess}
    monkeypatch.setattr(
        neighbours, bench.__name__, lambda asked: [record.model_copy(update={"ratios": ratios})]
    )
    with pytest.raises(UserError, match="Joules are not measured here"):
        check(print)
    assert neighbour_checks.read(TWO) is None


def test_it_asks_for_what_its_docstring_says():
    """Its overrides are a run's."""
    from greenbench.campaign.compose import plan

    (job,) = plan(Asked(neighbours.A_A_RUN).overrides, multirun=False)
    assert (job.spec.technique, job.spec.protocol.blocks) == ({}, 10)
