"""A made-up queue: what is true of it in the long run, and that intervals under load hold that."""

from dataclasses import replace

import numpy as np
import pytest

from greenbench.analysis.load_curve import load_curve
from greenbench.schema import metrics
from greenbench.schema.load_spec import SloSpec
from greenbench.simulate.block_values import protocol
from greenbench.simulate.claims import under_load
from greenbench.simulate.claims.said import lines, told
from greenbench.simulate.served_queue import IDLE_W, Lab, Model, mean_s, measured, quantile_s
from greenbench.simulate.weather import Weather

RATE, ANSWER_S = 24.0, 0.025
LONG = replace(protocol("dev"), window_s=300.0, max_blocks=5)


@pytest.mark.parametrize("service", ["ample", "M/M/1", "M/D/1"])
def test_in_the_long_run_a_queue_is_as_its_theory_has_it(service):
    model = Model(ANSWER_S, 200.0, spins_w=12.0)
    lab = Lab(service, model, model, (RATE,), LONG, Weather("independent", 0.0))
    windows = measured(lab, np.random.default_rng(0))
    assert len(windows) == 10
    (point,) = load_curve(windows, {}, SloSpec(), "request/s", RATE, "none").points
    levels = point.baseline.metrics
    assert metrics.ENERGY_PER_REQUEST.level(levels).value == pytest.approx(
        IDLE_W / RATE + model.joules(RATE), rel=0.01
    )
    assert metrics.THROUGHPUT.level(levels).value == pytest.approx(RATE, rel=0.01)
    assert metrics.IN_FLIGHT.level(levels).value == pytest.approx(
        RATE * mean_s(service, ANSWER_S, RATE), rel=0.05
    )
    for metric, share in ((metrics.E2E, 0.5), (metrics.E2E_P90, 0.9), (metrics.E2E_P99, 0.99)):
        true = quantile_s(service, ANSWER_S, RATE, share)
        assert metric.level(levels).value == pytest.approx(true, rel=0.06)


def test_both_models_meet_the_same_requests():
    lab = Lab("ample", Model(0.2, 25.0), Model(0.1, 25.0), (8.0, 16.0, 24.0), protocol("dev"))
    due = {}
    for window in measured(lab, np.random.default_rng(1)):
        due.setdefault((window.place.unit, window.place.load), set()).add(window.traffic.due)
    assert all(len(counts) == 1 for counts in due.values())


def test_crossings_of_models_in_turn_hold_the_truth_as_often_as_they_say():
    """Before their interval paid for what each loading shifts, it held it in 70 %."""
    (case,) = (
        each for each in under_load.cases(60)
        if each.claim == under_load.CROSSING and each.where.startswith("dev") and "in turn" in each.where
    )  # fmt: skip
    (line,) = lines(case, told(case, range(case.labs)))
    assert line.holds == "yes"
    assert line.true.n > 50
