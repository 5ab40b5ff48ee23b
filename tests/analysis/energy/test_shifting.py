"""What waiting for the cleanest hours saves: against arithmetic by hand, and what it can never do."""

from datetime import date

import pytest
from helpers import campaign
from helpers.load_windows import at_rates
from hypothesis import given
from hypothesis import strategies as st

from greenbench.analysis.energy.grid_by_hour import GridByHour, Hour
from greenbench.analysis.energy.shifting import (
    ARRIVES,
    Shift,
    mean_day,
    shift,
    shifted_carbon,
    spread_carbon,
)
from greenbench.analysis.groups.rows import groups

KWH = 3.6e6


def grid(*days):
    """Whole days of (intensity, PUE) by the hour; PUE may be left out."""
    hours = tuple(tuple(Hour(*(one if isinstance(one, tuple) else (one, None))) for one in day)
                  for day in days)  # fmt: skip
    return GridByHour("g.csv", "g_per_kwh", "UTC", date(2026, 1, 1), date(2026, 1, 2), hours, 0)


NIGHT = [100.0] * 6 + [300.0] * 18
NOON = [300.0] * 12 + [100.0] * 6 + [300.0] * 6


def test_the_cleanest_hours_of_each_day_against_its_mean():
    """Six hours at 100 g, eighteen at 300: 250 on average. The clean ones lie at night, or after noon."""
    found = shift(grid(NIGHT, NOON), 2.0, 6)
    assert found[:3] == pytest.approx((6, 500.0, 200.0))
    assert found.saved == pytest.approx(0.6)
    assert (found.fixed_g, found.fixed) == (pytest.approx(400.0), (0, 1, 2, 3, 4, 5))  # a tie
    assert found.saved_fixed == pytest.approx(0.2)
    eight = shift(grid(NIGHT), 1.0, 8)
    assert eight.cleanest_g == pytest.approx((6 * 100 + 2 * 300) / 8)
    assert shift(grid(NIGHT), 1.0, 24).saved == pytest.approx(0.0, abs=1e-12)


def test_clean_is_intensity_times_pue():
    """At 110 g and PUE 1.1 an hour is cleaner than at 100 g and PUE 1.5."""
    day = [(100.0, 1.5)] * 12 + [(110.0, 1.1)] * 12
    found = shift(grid(day), 9.0, 12)  # the file's PUE counts
    assert (found.spread_g, found.cleanest_g) == pytest.approx(((150 + 121) / 2, 121.0))
    assert found.fixed == tuple(range(12, 24))
    assert mean_day(grid(day, day))[0] == Hour(100.0, 1.5)


intensities = st.floats(0, 10_000)
days = st.lists(st.lists(intensities, min_size=24, max_size=24), min_size=1, max_size=5)


@given(days, st.floats(1, 100), st.integers(1, 23))
def test_waiting_never_costs_and_knowing_each_day_is_never_worse(found, pue, hours):
    by = shift(grid(*found), pue, hours)
    more = shift(grid(*found), pue, hours + 1)
    assert by.cleanest_g <= by.fixed_g * (1 + 1e-12) + 1e-300
    assert by.fixed_g <= by.spread_g * (1 + 1e-12) + 1e-300
    assert by.cleanest_g <= more.cleanest_g * (1 + 1e-12) + 1e-300
    assert 0 <= by.saved_fixed <= by.saved + 1e-9 <= 1 + 1e-9


@given(intensities, st.floats(1, 100), st.integers(1, 24), st.integers(1, 4))
def test_equal_hours_save_nothing(intensity, pue, hours, count):
    by = shift(grid(*[[intensity] * 24] * count), pue, hours)
    assert (by.saved, by.saved_fixed) == pytest.approx((0, 0), abs=1e-12)


def fast():
    """A second and 300 J a request for the baseline; half of both for the candidate; idle 60 W."""
    record = campaign.run("fast", 0.5, spread=0.0)
    windows = [
        w.model_copy(update={"iteration_s": [0.5] * 10, "end_s": w.start_s + 5.0})
        if w.who == "candidate" and w.phase == "generate" else w
        for w in record.windows
    ]  # fmt: skip
    return record.model_copy(update={"windows": windows})


def row_of(record):
    return groups([record])[0].rows[0]


def test_what_is_drawn_above_idle_moves_and_idle_power_stays_all_day():
    """Of 150 J in half a second 120 are above idle; the baseline's second idles through at 60 J."""
    row, tokens = (
        row_of(fast()),
        next(w.tokens for w in fast().windows if w.phase == "generate") / 10,
    )
    by = shift(grid(NIGHT), 1.0, 6)
    now, shifted = spread_carbon(row, tokens, by), shifted_carbon(row, tokens, by)
    assert now.value == pytest.approx((120 + 60) * 250 / KWH)
    assert shifted.value == pytest.approx((120 * 100 + 60 * 250) / KWH)
    assert (now.unit, shifted.unit) == ("g CO2e", "g CO2e")
    assert now.provenance == shifted.provenance == row.energy.provenance
    assert shifted.low < shifted.value < shifted.high  # of idle power


def test_equal_hours_leave_a_runs_carbon_as_it_is():
    row, by = row_of(campaign.run("same", 0.7)), shift(grid([250.0] * 24), 1.5, 8)
    now, shifted = spread_carbon(row, 1e6, by), shifted_carbon(row, 1e6, by)
    assert (shifted.value, shifted.low, shifted.high) == pytest.approx(
        (now.value, now.low, now.high)
    )


def test_without_idle_power_or_of_requests_that_arrive_it_says_why():
    by = shift(grid(NIGHT), 1.0, 6)
    unknown = shifted_carbon(row_of(campaign.run("fast", 0.5, idle={})), 1.0, by)
    assert unknown.value is None
    assert "idle power" in unknown.reason
    assert (
        shifted_carbon(
            row_of(at_rates({"baseline": 100, "candidate": 70}, {"baseline": 4, "candidate": 8})),
            1.0,
            by,
        ).reason
        == ARRIVES
    )


def test_where_the_hours_save_nothing_both_are_of_all_sessions():
    """Two sessions that differ by a tenth: no shift, and so the same carbon, of their mean."""
    sessions = []
    for number, ratio in enumerate((0.70, 0.77), start=1):
        record = campaign.run("saver", ratio)
        spec = record.spec.model_copy(update={"session": number})
        later = f"2026-01-0{number}T00:00:00Z"
        sessions.append(record.model_copy(update={"spec": spec, "started_at": later}))
    (group,) = groups(sessions)
    (row,) = group.rows
    assert len(row.sessions) == 2
    none = Shift(hours=24, spread_g=50.0, cleanest_g=50.0, fixed_g=50.0, fixed=tuple(range(24)))
    spread, shifted = (each(row, 1e6, none) for each in (spread_carbon, shifted_carbon))
    assert shifted.value == pytest.approx(spread.value)
    assert shifted.bounds == pytest.approx(spread.bounds)
