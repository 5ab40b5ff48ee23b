"""The uncertainty budget against the GUM's formulas, by hand."""

import math

import numpy as np
import pytest

from greenbench.analysis.uncertainty import uncertainty
from greenbench.schema.quantity import Quantity, missing

T4 = 2.7764451  # t(0.975, 4)


def energy(unit="J/token", provenance="measured:counter:nvml", half=0.02 * T4):
    return Quantity(value=2.0, low=2 - half, high=2 + half, n=5, unit=unit, provenance=provenance)


def budget(quantity, aligned=False):
    return uncertainty(quantity, tick_s=0.1, window_s=10, boundary="gpu", aligned=aligned)


def test_a_level_adds_tick_repeats_and_gain_as_squares():
    found = budget(energy())
    assert found.tick == pytest.approx(0.01 / math.sqrt(6))
    assert found.tick_bound == pytest.approx(0.02)
    assert found.repeats == pytest.approx(0.01, rel=1e-6)  # 0.02 J of standard error on 2 J
    assert found.gain == pytest.approx(0.05 / math.sqrt(3))
    assert found.total == pytest.approx(math.sqrt(1e-4 / 6 + 1e-4 + 25e-4 / 3), rel=1e-6)
    assert found.expanded == 2 * found.total
    assert found.reason is None


def test_in_a_ratio_the_gain_cancels_and_two_windows_tick():
    found = budget(energy(unit="ratio"))
    assert found.gain is None
    assert found.tick == pytest.approx(0.01 / math.sqrt(3))
    assert found.total == pytest.approx(math.sqrt(1e-4 / 3 + 1e-4), rel=1e-6)


def test_an_aligned_window_ticks_fifty_times_less():
    assert budget(energy(), aligned=True).tick == pytest.approx(budget(energy()).tick / 50)


@pytest.mark.parametrize("power_ratio", [0.0, 1.0, 2.0])
def test_the_tick_formulas_hold_for_a_simulated_counter(power_ratio):
    """A counter that steps each 0.1 s, read over 10 s at 100 W, with another power at the edges."""
    dice = np.random.default_rng(0)
    edge_w = 100 * power_ratio
    start_lag_s, end_lag_s = dice.uniform(0, 0.1, (2, 20_000))
    error = edge_w * (start_lag_s - end_lag_s) / (100 * 10)
    found = budget(energy())
    assert np.abs(error).max() <= found.tick_bound
    assert error.std() == pytest.approx(power_ratio * found.tick, rel=0.02)


@pytest.mark.parametrize(
    ("quantity", "why"),
    [
        (energy(provenance="estimated:model"), "no measurement"),
        (energy(provenance="measured:counter:rapl"), "gain"),
        (energy(provenance="measured:wall"), "gain"),
        (missing("J/token", "no meter answered"), "no measurement"),
        (
            Quantity(
                value=2, n=1, unit="J/token", provenance="measured:counter:nvml", reason="one block"
            ),
            "one block",
        ),
    ],
)
def test_what_is_not_known_makes_no_total(quantity, why):
    found = budget(quantity)
    assert (found.total, found.expanded) == (None, None)
    assert why in found.reason


def test_a_ratio_of_any_measured_counter_has_a_total():
    assert budget(energy(unit="ratio", provenance="measured:counter:rapl")).total > 0


def test_the_boundary_is_told_in_words():
    assert "not the host's CPU" in budget(energy()).boundary
