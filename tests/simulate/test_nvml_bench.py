"""Whole runs on a GPU whose driver is played: pynvml and the meters are the real ones."""

from functools import partial

import numpy as np
import pytest

from greenbench.simulate.drawn_power import IDLE_W
from greenbench.simulate.measured_run import PREPARE_S, Lab, Truth, run
from greenbench.simulate.moving_engine import BUSY_W
from greenbench.simulate.nvml_bench import CALM, Fault, NvmlBench
from greenbench.simulate.weather import Weather

TRUTH = Truth(0.9, 0.8)
STILL = Lab(Weather(spread=0.0))


@pytest.fixture
def bench(fake_nvml, nvml_library, tmp_path):
    """Call with a fault and when it begins; `fake_nvml` puts back what it leaves."""
    fake_nvml("")
    return partial(NvmlBench, nvml_library, tmp_path)


def measured(bench, lab=STILL):
    return run("simulated", TRUTH, lab, np.random.default_rng(0), bench=bench)


def codes(record):
    return {code for window in record.windows for code in window.codes} | set(record.codes)


@pytest.mark.parametrize("lab", [STILL, STILL._replace(in_turn=True)], ids=["together", "in turn"])
def test_a_calm_gpu_gives_the_truth_by_the_counter_and_by_sampled_power(bench, lab):
    record = measured(bench(), lab)
    assert (record.validity, codes(record)) == ("valid", set())
    assert record.meter.used == ["nvml", "nvml_power"]
    assert record.ratios["energy_per_token"].value == pytest.approx(TRUTH.energy, rel=0.002)
    assert record.ratios["tokens_per_s"].value == pytest.approx(1 / TRUTH.time, rel=1e-6)
    assert record.techniques[0].prepare_energy.value == pytest.approx(BUSY_W * PREPARE_S, rel=0.005)
    assert max(abs(window.residual) for window in record.windows) < 0.003
    if not lab.in_turn:
        assert record.idle["both"].value == pytest.approx(IDLE_W, rel=0.005)


def test_heat_that_slows_it_takes_its_block_with_it_and_another_makes_up_for_it(bench):
    hot = Fault("heat", "throttled", "throttle 0 {t} 64 {u}", slow=1.5, less=0.7)
    record = measured(bench(hot, 140.0))
    spoilt = [window for window in record.windows if window.codes]
    assert {code for window in spoilt for code in window.codes} == {"throttled"}
    assert len({window.block for window in spoilt}) == 1
    assert (record.validity, record.ratios["energy_per_token"].n) == ("valid", 5)
    assert record.ratios["energy_per_token"].value == pytest.approx(TRUTH.energy, rel=0.002)


def test_a_power_limit_that_one_model_meets_is_said_of_the_run(bench):
    record = measured(bench(Fault("cap", "power_capped", seconds=2000, watts=380, way="cap"), 0.0))
    assert record.codes == ["power_capped"]
    assert record.ratios["energy_per_token"].value == pytest.approx(TRUTH.energy, rel=0.005)
    slower = 1 / (TRUTH.time * 380 / BUSY_W)  # the baseline alone is held back
    assert record.ratios["tokens_per_s"].value == pytest.approx(slower, rel=0.01)


def test_what_a_waiting_model_draws_is_found(bench):
    record = measured(bench(), STILL._replace(waiting_w=30.0))
    assert record.codes == ["waiting_costs"]
    assert record.waiting.power.value == pytest.approx(30.0, rel=0.02)


def test_drift_is_in_no_ratio_of_models_together_and_is_said_of_models_in_turn(bench):
    drift = CALM._replace(name="drift", seconds=2000.0, way="drift")
    record = measured(bench(drift, 0.0))
    assert record.ratios["energy_per_token"].value == pytest.approx(TRUTH.energy, rel=0.003)
    assert codes(record) == set()
    assert "drift" in measured(bench(drift, 0.0), STILL._replace(in_turn=True)).codes
