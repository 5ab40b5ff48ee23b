"""Wall logs: files as loggers write them, joined to windows by time."""

import os
from datetime import UTC, datetime, timedelta, timezone

import pytest

from greenbench.errors import Unavailable, UserError
from greenbench.meters import wall_log
from greenbench.meters.wall_log import WallLog

START = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
ORIGIN_S = START.timestamp()


def write(path, unit, rows, zone=UTC):
    """`rows` are (seconds after START, value)."""
    lines = [f"timestamp,{unit}"]
    for second, value in rows:
        moment = (START + timedelta(seconds=second)).astimezone(zone)
        lines.append(f"{moment.isoformat()},{value}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def log(tmp_path):
    return tmp_path / "plug.csv"


def joules(span):
    return span.end_j - span.start_j


def test_watts_are_integrated(log):
    wall = WallLog(write(log, "watts", [(s, 300) for s in range(61)]))
    span = wall.span(20.25, 30.25, ORIGIN_S)
    assert joules(span) == pytest.approx(3000)
    assert (span.boundary, span.provenance, span.tick_s) == ("wall", "measured:wall", 1.0)
    assert (span.start_s, span.end_s) == (20.25, 30.25)


def test_a_ramp_is_integrated_by_trapezoids(log):
    wall = WallLog(write(log, "watts", [(s, 10 * s) for s in range(61)]))
    assert joules(wall.span(10, 20, ORIGIN_S)) == pytest.approx(1500)


def test_watt_hours_are_differences(log):
    wall = WallLog(write(log, "wh", [(s, 5000 + s * 300 / 3600) for s in range(0, 61, 2)]))
    assert joules(wall.span(20.5, 30.5, ORIGIN_S)) == pytest.approx(3000)


@pytest.mark.parametrize("unit", ["watts", "wh"])
def test_a_window_has_the_trace_of_its_rows(log, unit):
    """40 W for ten seconds and then 100 W, by a row a second, of the logger's clock 3 s ahead."""
    watts = [40.0] * 10 + [100.0] * 11
    energy = [sum(watts[:second]) / 3600 for second in range(len(watts))]
    values = watts if unit == "watts" else energy
    found = WallLog(write(log, unit, [(s + 3, v) for s, v in enumerate(values)]), 3.0)
    trace = found.trace(8.0, 12.0, ORIGIN_S)
    assert trace.step_s == pytest.approx(1.0)
    assert trace.power_w == pytest.approx([40.0, 40.0, 100.0, 100.0])
    assert set(trace.temperature_c) == {None}
    assert found.trace(8.1, 8.2, ORIGIN_S) is None


def test_zones_do_not_matter_as_long_as_there_is_one(log):
    rows = [(s, 100 + s) for s in range(61)]
    here = WallLog(write(log, "watts", rows)).span(10, 20, ORIGIN_S)
    there = WallLog(write(log, "watts", rows, timezone(timedelta(hours=5, minutes=30))))
    assert joules(there.span(10, 20, ORIGIN_S)) == pytest.approx(joules(here))


def test_the_offset_of_the_logger_clock_is_applied_and_stated(log):
    path = write(log, "watts", [(s + 7, 300 if s >= 30 else 100) for s in range(61)])
    wall = WallLog(path, offset_s=7)
    assert joules(wall.span(40, 50, ORIGIN_S)) == pytest.approx(3000)
    assert joules(wall.span(10, 20, ORIGIN_S)) == pytest.approx(1000)
    assert "7 s ahead" in wall.note


def test_a_gap_is_refused_where_it_is_and_nowhere_else(log):
    wall = WallLog(write(log, "watts", [(s, 300) for s in range(61) if not 30 < s < 40]))
    assert joules(wall.span(5, 30, ORIGIN_S)) == pytest.approx(7500)
    assert joules(wall.span(40, 60, ORIGIN_S)) == pytest.approx(6000)
    for start_s, end_s in [(25, 35), (32, 38), (35, 50), (20, 50)]:
        with pytest.raises(Unavailable, match=r"gap of 10\.0 s"):
            wall.span(start_s, end_s, ORIGIN_S)


@pytest.mark.parametrize(("start_s", "end_s"), [(-1, 5), (55, 61), (100, 110)])
def test_a_window_outside_the_log_is_refused(log, start_s, end_s):
    wall = WallLog(write(log, "watts", [(s, 300) for s in range(61)]))
    with pytest.raises(Unavailable, match="12:00:00"):
        wall.span(start_s, end_s, ORIGIN_S)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("timestamp,watts\n2026-01-31T12:00:00,300\n", "Line 2 .*no zone"),
        ("timestamp,watts\nyesterday,300\n", "Line 2 .*not ISO 8601"),
        ("timestamp,watts\n2026-01-31T12:00:00Z,many\n", "Line 2 .*allowed is a number"),
        ("timestamp,watts\n2026-01-31T12:00:00Z,-3\n", "Line 2 .*0 or more"),
        ("timestamp,watts\n2026-01-31T12:00:00Z,nan\n", "Line 2 .*allowed is a number"),
        ("timestamp,watts\n2026-01-31T12:00:00Z\n", "Line 2 .*allowed is a number"),
        (
            "timestamp,wh\n2026-01-31T12:00:00Z,5\n2026-01-31T12:00:01Z,4\n",
            "Line 3 .*fewer wh",
        ),
        (
            "timestamp,watts\n2026-01-31T12:00:01Z,5\n2026-01-31T12:00:01Z,5\n",
            "Line 3 .*not later",
        ),
        ("timestamp,watts\n2026-01-31T12:00:00Z,300\n", "two rows"),
        ("time,watts\n", "columns timestamp and either watts or wh"),
        ("timestamp,watts,wh\n", "columns timestamp and either watts or wh"),
        ("", "columns timestamp and either watts or wh"),
    ],
)
def test_a_bad_log_is_refused_in_one_sentence_that_names_the_line(log, text, sentence):
    log.write_text(text)
    with pytest.raises(UserError, match=sentence) as refusal:
        WallLog(log)
    assert str(refusal.value).endswith(".")
    assert str(log.parent) not in str(refusal.value)


def test_a_log_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"plug\.csv cannot be read: No such file") as refusal:
        WallLog(tmp_path / "plug.csv")
    assert str(tmp_path) not in str(refusal.value)


def test_a_growing_log_is_waited_for_and_a_finished_one_is_not(tmp_path, monkeypatch):
    path = tmp_path / "wall.csv"
    path.write_text("timestamp,watts\n")
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            os.utime(path, (200.5, 200.5))

    monkeypatch.setattr(wall_log.time, "sleep", sleep)
    os.utime(path, (150.0, 150.0))
    wall_log.wait_for_rows(path, 100.0, 200.0)
    assert len(slept) == 3
    os.utime(path, (50.0, 50.0))  # of an earlier day
    wall_log.wait_for_rows(path, 100.0, 200.0)
    assert len(slept) == 3
