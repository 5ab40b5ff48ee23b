"""Carbon intensity by the hour: three programs' files, and one sentence for each that is none."""

from datetime import date

import pytest

from greenbench.analysis.energy.grid_by_hour import Hour, grid_by_hour
from greenbench.errors import UserError

LIFE_CYCLE = "Carbon intensity gCO₂eq/kWh (Life cycle)"
DIRECT = "Carbon intensity gCO₂eq/kWh (direct)"


@pytest.fixture
def read(tmp_path):
    """What is read of a file with that head and these rows."""

    def reading(head, rows, encoding="utf-8"):
        path = tmp_path / "grid.csv"
        path.write_bytes("\n".join([head, *rows]).encode(encoding))
        return grid_by_hour(path)

    return reading


def times(day=1, step_min=60, zone="+01:00"):
    """Of one day."""
    return [
        f"2026-01-{day:02}T{minute // 60:02}:{minute % 60:02}:00{zone}"
        for minute in range(0, 1440, step_min)
    ]


def plain(day=1, zone="+01:00"):
    return [f"{time},{100 + hour}" for hour, time in enumerate(times(day, zone=zone))]


def test_a_plain_file(read):
    found = read("time,g_per_kwh", [*plain(1), *plain(2)[:10], *plain(4)])
    assert found.days == (tuple(Hour(100.0 + hour, None) for hour in range(24)),) * 2
    assert (found.name, found.column, found.zone) == ("grid.csv", "g_per_kwh", "UTC+01:00")
    assert (found.first, found.last, found.left_out) == (date(2026, 1, 1), date(2026, 1, 4), 1)
    assert not found.has_pue


def test_rows_within_an_hour_are_averaged_and_pue_stands_beside_them(read):
    rows = [f"{time},{10 * at},{1 + at / 100}" for at, time in enumerate(times(step_min=30))]
    (day,) = read("time,g_per_kwh,pue", rows).days
    assert day[0] == pytest.approx((5.0, 1.005))
    assert day[23] == pytest.approx((465.0, 1.465))


def exported(*columns):
    rows = [f"2026-01-01 {hour:02}:00:00,Germany,DE,{hour},{2 * hour}" for hour in range(24)]
    return ",".join(["Datetime (UTC)", "Country", "Zone id", *columns]), rows


@pytest.mark.parametrize("name", [LIFE_CYCLE, "Carbon Intensity gCO2eq/kWh (LCA)"])
def test_electricity_maps_counts_the_life_cycle(read, name):
    found = read(*exported(DIRECT, name), encoding="utf-8-sig")
    assert [hour.g_per_kwh for hour in found.days[0]] == [2.0 * hour for hour in range(24)]
    assert (found.column, found.zone) == (name, "UTC")


def test_electricity_maps_without_a_life_cycle_counts_what_is_direct(read):
    found = read(*exported(DIRECT, "Data source"))
    assert (found.column, found.days[0][23].g_per_kwh) == (DIRECT, 23.0)


def test_watttime_is_in_pounds_per_megawatt_hour(read):
    """1,000 pounds are 453.59237 kg, which a MWh emits: as many grams a kWh."""
    found = read("point_time,value,version", [f"{time},1000,x" for time in times(step_min=5)])
    assert [hour.g_per_kwh for hour in found.days[0]] == pytest.approx([453.59237] * 24)
    assert found.is_in_pounds


def test_times_that_name_no_zone_are_the_files_own(read):
    assert read("time,g_per_kwh", plain(zone="")).zone == "a zone that it does not name"


@pytest.mark.parametrize(
    ("head", "rows", "said"),
    [
        ("when,g_per_kwh", plain(), "has no column of times that is known: give time and g_per_kwh"),
        ("", [], "has no column of times that is known"),
        ("time,grams", plain(), "has no column g_per_kwh beside time"),
        ("point_time,moer", plain(), "has no column value beside point_time"),
        ("time,g_per_kwh", ["soon,100"], "row 2: time=soon is no time: write it as 2026-01-31T13"),
        ("time,g_per_kwh", [f"{times()[0]},much"], "row 2: g_per_kwh=much is not a number"),
        ("time,g_per_kwh", [f"{times()[0]},"], "row 2: g_per_kwh= is not a number"),
        ("time,g_per_kwh", [times()[0]], "row 2: g_per_kwh= is not a number"),
        ("time,g_per_kwh", [f"{times()[0]},nan"], "g_per_kwh=nan is out of range: allowed is 0 to"),
        ("time,g_per_kwh", [f"{times()[0]},-3"], "g_per_kwh=-3 is out of range"),
        ("time,g_per_kwh,pue", [f"{times()[0]},3,0.9"], "pue=0.9 is out of range: allowed is 1 to"),
        ("time,g_per_kwh", [*plain()[:2], plain()[1]], "row 4: .* does not come after 2026-01-01 01"),
        ("time,g_per_kwh", plain()[::-1], "row 3: .* give each time of one grid once, ascending"),
        ("time,g_per_kwh", plain()[:23], "has no whole day: the fullest has 23 of 24 hours"),
        ("time,g_per_kwh", [], "has no whole day: the fullest has 0 of 24 hours"),
        (
            "time,g_per_kwh",
            [*plain(1), *plain(2, zone="+02:00")],
            r"row 26 is in UTC\+02:00, and what stands before in UTC\+01:00",
        ),
        (
            "time,g_per_kwh",
            [*plain(1), *plain(2, zone="")],
            "row 26 is in a zone that it does not name, and what stands before in UTC",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_one_sentence(read, head, rows, said):
    with pytest.raises(UserError, match=said) as caught:
        read(head, rows)
    assert len(str(caught.value).splitlines()) == 1


def test_no_file_and_no_text_are_one_sentence(tmp_path, read):
    for path, said in ((tmp_path / "none.csv", "does not exist"), (tmp_path, "cannot be read")):
        with pytest.raises(UserError, match=said):
            grid_by_hour(path)
    with pytest.raises(UserError, match="cannot be read as CSV"):
        read("time,g_per_kwh", plain(), encoding="utf-16")
