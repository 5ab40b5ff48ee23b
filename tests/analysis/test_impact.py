"""Carbon, cost and water against arithmetic by hand."""

import pytest

from greenbench.analysis.impact import assumptions, grids, impact
from greenbench.errors import UserError

KWH = 3.6e6


def test_a_kilowatt_hour_at_the_device_by_hand():
    given = assumptions(["country=FRA", "pue=1.5", "price_per_kwh=0.2", "water_l_per_kwh=2"])
    found = impact(KWH, 0.0, given)
    assert found.energy_kwh == pytest.approx(1.5)
    assert found.operational_g == pytest.approx(1.5 * grids()["FRA"].g_per_kwh)
    assert (found.cost, found.water_l, found.embodied_g) == pytest.approx((0.3, 2.0, 0.0))


def test_embodied_carbon_is_the_share_of_the_lifetime():
    given = assumptions(["embodied_kg=100", "lifetime_years=2"])
    found = impact(0.0, 2 * 8766 * 3600 / 1000, given)  # a thousandth of its life
    assert found.embodied_g == pytest.approx(100.0)
    assert found.carbon_g == pytest.approx(100.0)  # (E x I) + M with E = 0


def test_time_without_work_is_charged_to_the_work():
    """At a fifth of its life a second of work reserves five."""
    given = assumptions(["embodied_kg=100", "lifetime_years=2", "utilisation=0.2"])
    used_s = 2 * 8766 * 3600 / 1000
    assert impact(0.0, used_s, given).embodied_g == pytest.approx(500.0)


def test_a_cpu_is_charged_no_accelerator():
    given = assumptions(["embodied_kg=100"])
    assert (given.made_kg("cuda"), given.made_kg("cpu")) == (100.0, None)
    assert impact(0.0, 1e6, given.on("cpu")).embodied_g == 0.0
    assert impact(0.0, 1e6, given.on("cuda")) == impact(0.0, 1e6, given)
    told = assumptions(["embodied_kg=100", "embodied_cpu_kg=30"])
    ratio = impact(0.0, 1e6, told.on("cpu")).embodied_g / impact(0.0, 1e6, told).embodied_g
    assert ratio == pytest.approx(0.3)


def test_the_grid_table_is_plausible_and_says_where_it_comes_from():
    assert len(grids()) > 200
    assert all(0 < grid.g_per_kwh < 1500 and grid.year >= 2000 for grid in grids().values())
    assert grids()["SWE"].g_per_kwh < grids()["WORLD"].g_per_kwh < grids()["IND"].g_per_kwh


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("country=ATLANTIS", "impact.country=ATLANTIS is unknown"),
        ("pue=0.9", "impact.pue=0.9 is out of range"),
        ("pue=much", "is not a number"),
        ("pue=nan", "impact.pue=nan is out of range: allowed is 1 to 100"),
        ("pue=1e308", "out of range"),
        ("price_per_kwh=inf", "out of range"),
        ("lifetime_years=0", "allowed is 0.01 to 1000"),
        ("lifetime_years=1e-300", "out of range"),
        ("utilisation=0", "allowed is 0.001 to 1"),
        ("utilisation=20", "allowed is 0.001 to 1"),
        ("embodied_cpu_kg=-1", "allowed is 0 to 1000000"),
        ("embodied_cpu_kg=null", "is not a number"),
        ("tokens_per_query=0", "1 to 1000000000"),
        ("price_per_kwh=-1", "allowed is 0 to 1000000"),
        ("colour=green", "impact.colour is unknown"),
    ],
)
def test_a_mistake_is_one_sentence(change, said):
    with pytest.raises(UserError, match=said) as caught:
        assumptions([change])
    assert len(str(caught.value).splitlines()) == 1
