"""Intervals of levels and changes against published values and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from greenbench.quality import paired

Z2 = 3.841458820694124


@pytest.mark.parametrize(
    ("gained", "lost", "n", "low", "high"),
    [  # Fagerland, Lydersen and Laake (2014), Statistics in Medicine 33:2850, method of Tango
        (1, 7, 21, -0.517, -0.026),
        (6, 16, 161, -0.124, -0.0054),
    ],
)
def test_a_paired_change_has_the_published_interval(gained, lost, n, low, high):
    found = paired.paired_proportions(gained, lost, n)
    assert found.value == pytest.approx((gained - lost) / n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize("n", [1, 30, 1000])
def test_without_flips_the_interval_is_z2_over_n_plus_z2(n):
    found = paired.paired_proportions(0, 0, n)
    assert found.value == 0
    assert (found.low, found.high) == pytest.approx((-Z2 / (n + Z2), Z2 / (n + Z2)), abs=1e-8)


def test_the_bounds_solve_the_score_equation_with_a_nuisance_found_by_search():
    gained, lost, n = 9, 4, 40
    found = paired.paired_proportions(gained, lost, n)
    for delta in (found.low, found.high):

        def surprise(p, delta=delta):  # of a multinomial whose proportions differ by delta
            rest = 1 - 2 * p - delta
            return -(
                gained * math.log(p + delta)
                + lost * math.log(p)
                + (n - gained - lost) * math.log(rest)
            )

        bounds = (max(0, -delta) + 1e-9, (1 - delta) / 2 - 1e-9)
        p = minimize_scalar(surprise, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        variance = n * (2 * p + delta - delta**2)
        assert (gained - lost - n * delta) ** 2 / variance == pytest.approx(Z2, rel=1e-4)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 200))
def test_a_paired_interval_is_sound(gained, lost, same):
    n = gained + lost + same
    if n == 0:
        return
    found = paired.paired_proportions(gained, lost, n)
    mirrored = paired.paired_proportions(lost, gained, n)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-6)


@pytest.mark.parametrize(("right", "n"), [(0, 20), (7, 20), (20, 20)])
def test_a_level_of_right_and_wrong_items_is_wilsons(right, n):
    found = paired.level([1.0] * right + [0.0] * (n - right), [1.0] * n)
    p, centre = right / n, (right + Z2 / 2) / (n + Z2)
    half = math.sqrt(Z2) / (n + Z2) * math.sqrt(n * p * (1 - p) + Z2 / 4)
    assert found.value == p
    assert found.n == n
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))


def test_bits_per_byte_change_is_the_delta_method_on_differences():
    bits, fewer, size = [80.0, 150.0, 95.0], [84.0, 160.0, 96.0], [100.0, 200.0, 100.0]
    found = paired.change(bits, fewer, size)
    assert found.value == pytest.approx(15 / 400)
    assert paired.level(bits, size).value == pytest.approx(325 / 400)
    residual = (np.array([4.0, 10.0, 1.0]) - 15 / 400 * np.array(size)) / (400 / 3)
    half = 4.302652729911275 * residual.std(ddof=1) / math.sqrt(3)  # t quantile, 2 degrees
    assert (found.low, found.high) == pytest.approx((15 / 400 - half, 15 / 400 + half))


def test_identical_models_get_no_interval_of_zero_width():
    found = paired.change([80.0, 150.0], [80.0, 150.0], [100.0, 200.0])
    assert (found.value, found.low, found.high) == (0, None, None)
    assert "same value" in found.reason


def test_unequal_items_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        paired.change([1.0, 0.0], [1.0], [1.0, 1.0])
