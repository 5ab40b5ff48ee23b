"""The uncertainty budget against the GUM's formulas, by hand."""

import math

import numpy as np
import pytest
from helpers import factory

from greenbench.analysis.uncertainty import budgets, uncertainty
from greenbench.schema.quantity import Quantity, missing

T4 = 2.7764451  # t(0.975, 4)


def energy(unit="J/token", provenance="measured:counter:nvml", half=0.02 * T4):
    return Quantity(value=2.0, low=2 - half, high=2 + half, n=5, unit=unit, provenance=provenance)


def budget(quantity, **changes):
    told = {"tick_s": 0.1, "window_s": 10, "boundary": "gpu", "aligned": False} | changes
    return uncertainty(quantity, **told)


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


@pytest.mark.parametrize("aligned", [True, False])
def test_a_reading_that_takes_long_is_late_by_so_much_more(aligned):
    lag_s = 0.002 if aligned else 0.1
    assert budget(energy(), aligned=aligned, read_s=0.03).tick == pytest.approx(
        (lag_s + 0.03) / 10 / math.sqrt(6)
    )


def test_the_tick_holds_for_calls_of_30_ms():
    """A counter of 0.1 s, polled each 2 ms by calls that take 30 ms and read it anywhere within them."""
    dice = np.random.default_rng(0)
    late_s = dice.uniform(0, 0.032, (2, 20_000))  # since it stepped: a poll and a call
    error = (late_s[0] - late_s[1]) / 10
    found = budget(energy(), aligned=True, read_s=0.03)
    assert error.std() == pytest.approx(found.tick, rel=0.02)
    assert np.abs(error).max() <= found.tick_bound


def test_what_was_drawn_while_nothing_ran_is_a_term_of_its_own():
    found = budget(energy(), edges=0.01)
    assert found.edges == 0.01
    assert found.total == pytest.approx(math.hypot(budget(energy()).total, 0.01))


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


def of_run(answer_s, watts, **changes):
    """A window of ten seconds with answers for so long, by each model, in watts while it lasted."""
    found = {}
    for who in ("baseline", "candidate"):
        window = factory.block_window(who, "generate", 0, 0, 0.0)
        counted = window.energy[0].model_copy(
            update={"start_s": 0.0, "end_s": 10.0, "start_j": 0.0, "end_j": 10 * watts} | changes
        )
        told = {"energy": [counted], "iteration_s": [answer_s[who]], "end_s": 10.0}
        found[who] = window.model_copy(update=told)
    return list(found.values())


RESTING = Quantity(
    value=75.0, low=74.0, high=76.0, n=3, unit="W", provenance="measured:counter:nvml"
)


def of_both(windows, resting=RESTING):
    level, ratio = budgets(windows, energy(), energy(unit="ratio"), resting).values()
    return level, ratio


def test_edges_are_the_resting_joules_between_the_answers_and_the_readings():
    """A tenth of a second of 75 W in each 5 s of 300 W: 0.5 %; in the ratio what the two differ by."""
    level, ratio = of_both(of_run({"baseline": 10.0, "candidate": 9.8}, 300))
    assert level.edges == pytest.approx(0.02 * 75 / 300)
    assert ratio.edges == pytest.approx(level.edges)
    level, ratio = of_both(of_run({"baseline": 9.8, "candidate": 9.8}, 300), missing("W", "none"))
    assert (level.edges, ratio.edges) == (pytest.approx(0.02), 0.0)


def test_only_a_counter_that_steps_is_aligned_to_its_steps():
    answers = {"baseline": 10.0, "candidate": 10.0}
    counted, integrated = (
        of_both(of_run(answers, 300, provenance=f"measured:{kind}:nvml", tick_s=1.0))[0].tick
        for kind in ("counter", "integrated")
    )
    assert integrated == pytest.approx(0.1 / math.sqrt(6))
    assert counted == pytest.approx(integrated / 50)


def test_a_reading_s_own_time_is_read_off_the_windows():
    answers = {"baseline": 10.0, "candidate": 10.0}
    counter = {"provenance": "measured:counter:nvml", "tick_s": 0.1, "read_s": 0.03}
    level, _ = of_both(of_run(answers, 300, **counter))
    assert level.tick == pytest.approx(0.032 / 10 / math.sqrt(6))
