"""A plug, PDU or IPMI: joules at the wall, from a log that another program writes.

The log is a CSV file with a header and two columns: ``timestamp`` (ISO 8601 with a zone, as in
``2026-01-31T13:05:00+01:00``) and either ``watts`` (integrated by trapezoids) or ``wh``
(cumulative watt-hours, interpolated). It is joined to the windows by time once they are over, as
most loggers write late. ``offset_s`` is how far the logger's clock is ahead of this machine's; it
is stated, not guessed. A window the log does not cover, or covers with a gap, has no joules.
"""

from __future__ import annotations

import csv
import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median
from typing import NamedTuple

from greenbench.errors import Unavailable, UserError
from greenbench.meters.telemetry import Sample, resample
from greenbench.schema import window
from greenbench.schema.quantity import Boundary, Provenance

JOULES_PER_WH = 3600.0
ROW_S = 10.0  # few meters log more seldom
GAP_ROWS = 5  # a gap is this many times the usual time between two rows


class Row(NamedTuple):
    """One line of a log."""

    time_s: float
    """Seconds since 1970 on the logger's clock."""
    value: float
    """Watts, or cumulative watt-hours."""


def wait_for_rows(path: Path, start_s: float, end_s: float) -> None:
    """Wait until a log that was written to since `start_s` has a row after `end_s` (since 1970).

    A row comes only now and then, so that the last window's end is not covered at once. A log that
    is not growing is not waited for.
    """
    patience_s = time.monotonic() + ROW_S
    while start_s < path.stat().st_mtime <= end_s and time.monotonic() < patience_s:
        time.sleep(ROW_S / 100)


class WallLog:
    """A wall meter's log as a cumulative joule counter over time.

    Raises UserError, naming the line, for what cannot be read: no zone, no number, rows that go
    back in time or watt-hours that go down.
    """

    name = "wall"
    boundary: Boundary = "wall"
    provenance: Provenance = "measured:wall"

    def __init__(self, path: Path, offset_s: float = 0.0) -> None:
        unit, rows = _load(path)
        self._samples = _samples(unit, rows, offset_s)
        self._times_s = [row.time_s - offset_s for row in rows]
        self._joules = _integral(rows) if unit == "watts" else _joules(rows)
        self.tick_s = median(end - start for start, end in pairwise(self._times_s))
        self.note = (
            f"Joined by time with the wall meter's clock taken as {offset_s:g} s ahead of this "
            f"machine's, one row every {self.tick_s:g} s."
        )

    def span(self, start_s: float, end_s: float, origin_s: float) -> window.Span:
        """Joules at the wall in a window, in seconds from the run's start `origin_s` (since 1970).

        Raises Unavailable if the log does not cover the window or has a gap in it.
        """
        start, end = origin_s + start_s, origin_s + end_s
        self._require_covered(start, end)
        return window.Span(
            meter=self.name,
            boundary=self.boundary,
            provenance=self.provenance,
            tick_s=self.tick_s,
            start_s=start_s,
            start_j=self._at(start),
            end_s=end_s,
            end_j=self._at(end),
        )

    def trace(self, start_s: float, end_s: float, origin_s: float) -> window.Trace | None:
        """Watts at the wall in a window, as `span` places it; null where it has no row."""
        start, end = origin_s + start_s, origin_s + end_s
        inside = [sample for sample in self._samples if start <= sample.time_s <= end]
        return resample(inside, [], start, end, self.tick_s) if inside else None

    def _require_covered(self, start: float, end: float) -> None:
        first, last = self._times_s[0], self._times_s[-1]
        if start < first or end > last:
            raise Unavailable(
                f"The wall log covers {_utc(first)} to {_utc(last)} and not the window from "
                f"{_utc(start)} to {_utc(end)}: let the logger run longer, or set the offset of "
                f"its clock."
            )
        rows = slice(bisect_right(self._times_s, start) - 1, bisect_left(self._times_s, end) + 1)
        inside = self._times_s[rows]
        widest = max(later - earlier for earlier, later in pairwise(inside))
        if widest > GAP_ROWS * self.tick_s:
            raise Unavailable(
                f"The wall log has a gap of {widest:.1f} s in the window from {_utc(start)} to "
                f"{_utc(end)}: find out why the logger paused."
            )

    def _at(self, time_s: float) -> float:
        index = max(bisect_left(self._times_s, time_s), 1) - 1
        start, end = self._times_s[index : index + 2]
        low, high = self._joules[index : index + 2]
        return low + (high - low) * (time_s - start) / (end - start)


def _samples(unit: str, rows: list[Row], offset_s: float) -> list[Sample]:
    """Watts as they are logged, or what watt-hours rose by, in the middle of the time in which they did."""
    if unit == "watts":
        return [Sample(row.time_s - offset_s, row.value) for row in rows]
    return [
        Sample(
            (a.time_s + b.time_s) / 2 - offset_s,
            JOULES_PER_WH * (b.value - a.value) / (b.time_s - a.time_s),
        )
        for a, b in pairwise(rows)
    ]


def _integral(rows: list[Row]) -> list[float]:
    steps = ((b.time_s - a.time_s) * (a.value + b.value) / 2 for a, b in pairwise(rows))
    return list(accumulate(steps, initial=0.0))


def _joules(rows: list[Row]) -> list[float]:
    return [JOULES_PER_WH * (row.value - rows[0].value) for row in rows]


def _load(path: Path) -> tuple[str, list[Row]]:
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            units = {"watts", "wh"} & set(reader.fieldnames or [])
            if "timestamp" not in (reader.fieldnames or []) or len(units) != 1:
                raise UserError(
                    f"The wall log {path.name} needs a header with the columns timestamp and "
                    f"either watts or wh."
                )
            unit = units.pop()
            rows = list(_rows(path.name, unit, reader))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"The wall log {path.name} cannot be read: {why}.") from None
    if len(rows) < 2:
        raise UserError(f"The wall log {path.name} needs two rows or more to cover any time.")
    return unit, rows


def _rows(name: str, unit: str, reader: csv.DictReader[str]) -> Iterator[Row]:
    last: Row | None = None
    for fields in reader:
        where = f"Line {reader.line_num} of the wall log {name}"
        row = Row(_time_s(where, fields["timestamp"]), _number(where, unit, fields[unit]))
        if last and row.time_s <= last.time_s:
            raise UserError(f"{where} is not later than the line before it: sort it by time.")
        if last and unit == "wh" and row.value < last.value:
            raise UserError(f"{where} has fewer wh than the line before it: cut it at the reset.")
        yield row
        last = row


def _time_s(where: str, text: str | None) -> float:
    try:
        moment = datetime.fromisoformat((text or "").strip())
    except ValueError:
        raise UserError(
            f"{where} has the timestamp {text!r}, which is not ISO 8601: write it as in "
            f"2026-01-31T13:05:00+01:00."
        ) from None
    if moment.tzinfo is None:
        raise UserError(
            f"{where} has the timestamp {text!r} with no zone, so that it could be any of 24 "
            f"hours: write it as in 2026-01-31T13:05:00+01:00."
        )
    return moment.timestamp()


def _number(where: str, unit: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UserError(f"{where} has {unit} {text!r}: allowed is a number, 0 or more.")
    return value


def _utc(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="seconds")
