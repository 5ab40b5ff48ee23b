"""What the grid emits by the hour, and PUE where it is given: a CSV file of another program. All assumed.

Three forms are known by their columns:

- ``time`` (ISO 8601) and ``g_per_kwh``, grams of CO2e;
- Electricity Maps' export: ``Datetime (UTC)`` and ``Carbon intensity gCO₂eq/kWh (Life cycle)``, which older
  ones call ``(LCA)``, else ``(direct)``;
- WattTime's: ``point_time`` and ``value``, pounds of CO2 per MWh.

Each may have a column ``pue`` more. Rows ascend in time, all in one zone; those within an hour are averaged,
and a day counts that has all its hours.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Final, NamedTuple

from greenbench.errors import UserError
from greenbench.wording import plain

G_PER_LB: Final = 453.59237
DAY: Final = 24
"""Hours."""
INTENSITY: Final = (0.0, 10_000.0)
PUE: Final = (1.0, 100.0)
KNOWN: Final = (
    "time and g_per_kwh, or Electricity Maps' Datetime (UTC) and Carbon intensity gCO₂eq/kWh (Life cycle), "
    "or WattTime's point_time and value"
)


class _Form(NamedTuple):
    time: str
    intensity: tuple[str, ...]
    """The first that is there counts."""
    g_per_kwh: float
    """Of one unit of it."""


_FORMS: Final = (
    _Form("time", ("g_per_kwh",), 1.0),
    _Form(
        "datetime (utc)",
        tuple(f"carbon intensity gco2eq/kwh ({kind})" for kind in ("life cycle", "lca", "direct")),
        1.0,
    ),
    _Form("point_time", ("value",), G_PER_LB / 1000),
)


class Hour(NamedTuple):
    """One hour of a day."""

    g_per_kwh: float
    pue: float | None
    """Null: the file has no such column."""


@dataclass(frozen=True)
class GridByHour:
    """The whole days of a file."""

    name: str
    column: str
    """Of the intensity, as the file calls it."""
    zone: str
    """Of its hours, in words."""
    first: date
    last: date
    days: tuple[tuple[Hour, ...], ...]
    """Each of 24 hours, ascending in time."""
    left_out: int
    """Days that are not whole."""

    @property
    def is_in_pounds(self) -> bool:
        """Whether it is WattTime's, of which CO2 alone is known, by default that of one kWh more."""
        return self.column.strip().lower() == "value"

    @property
    def has_pue(self) -> bool:
        """Whether PUE is given by the hour."""
        return self.days[0][0].pue is not None


class _Row(NamedTuple):
    time: datetime
    hour: Hour


class _Columns(NamedTuple):
    """Names in the file."""

    time: str
    intensity: str
    pue: str | None
    form: _Form


def grid_by_hour(path: Path) -> GridByHour:
    """Read a file. Raises UserError, one sentence, for what is not there, not known, or no whole day."""
    lines = _lines(path)
    columns = _columns(path, lines[0] if lines else [])
    rows = list(_rows(path, lines, columns))
    days = {day: _whole(list(found)) for day, found in groupby(rows, lambda row: row.time.date())}
    whole = {day: hours for day, hours in days.items() if len(hours) == DAY}
    if not whole:
        most = max(map(len, days.values()), default=0)
        raise UserError(
            f"{path} has no whole day: the fullest has {most} of 24 hours, and the cleanest are "
            "those of a day; give every hour of one or more."
        )
    return GridByHour(
        name=plain(path.name, 80),
        column=plain(columns.intensity, 80),
        zone=_zone(rows[0].time),
        first=min(whole),
        last=max(whole),
        days=tuple(whole.values()),
        left_out=len(days) - len(whole),
    )


def _lines(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        return [line for line in csv.reader(text.splitlines()) if line]
    except FileNotFoundError as error:
        raise UserError(
            f"{path} does not exist: give a CSV file of carbon intensity by the hour."
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path} cannot be read as CSV ({plain(error)}): give a file of {KNOWN}."
        ) from error


def _columns(path: Path, head: Sequence[str]) -> _Columns:
    names = {name.strip().lower().replace("₂", "2"): name for name in head}
    form = next((form for form in _FORMS if form.time in names), None)
    if form is None:
        raise UserError(f"{path} has no column of times that is known: give {KNOWN}.")
    intensity = next((name for name in form.intensity if name in names), None)
    if intensity is None:
        wanted = " or ".join(form.intensity)
        raise UserError(f"{path} has no column {wanted} beside {names[form.time]}: give {KNOWN}.")
    return _Columns(names[form.time], names[intensity], names.get("pue"), form)


def _rows(path: Path, lines: Sequence[Sequence[str]], columns: _Columns) -> Iterator[_Row]:
    """Its rows. Raises UserError for what is no number or time, does not ascend, or is in another zone."""
    head, before = lines[0], None
    for place, line in enumerate(lines[1:], start=2):
        where, cells = f"{path}, row {place}", dict(zip(head, line, strict=False))
        time = _time(where, cells.get(columns.time, ""), columns)
        if before and time.utcoffset() != before.utcoffset():
            raise UserError(
                f"{where} is in {_zone(time)}, and what stands before in {_zone(before)}: give all "
                "times in one, such as UTC."
            )
        if before and time <= before:
            raise UserError(
                f"{where}: {time} does not come after {before}: give each time of one grid once, ascending."
            )
        before = time
        value = _number(where, columns.intensity, cells, INTENSITY, columns.form.g_per_kwh)
        pue = _number(where, columns.pue, cells, PUE) if columns.pue else None
        yield _Row(time, Hour(value, pue))


def _time(where: str, text: str, columns: _Columns) -> datetime:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UserError(
            f"{where}: {columns.time}={plain(text, 40)} is no time: write it as 2026-01-31T13:00:00+01:00."
        ) from error
    in_utc = time.tzinfo is None and columns.form.time.endswith("(utc)")
    return time.replace(tzinfo=UTC) if in_utc else time


def _number(
    where: str, column: str, cells: dict[str, str], allowed: tuple[float, float], unit: float = 1.0
) -> float:
    text, (low, high) = cells.get(column, ""), allowed
    try:
        value = float(text) * unit
    except ValueError as error:
        raise UserError(
            f"{where}: {column}={plain(text, 40)} is not a number: give one in each row."
        ) from error
    if not (math.isfinite(value) and low <= value <= high):
        least, most = (f"{end / unit:g}" for end in allowed)
        raise UserError(
            f"{where}: {column}={plain(text, 40)} is out of range: allowed is {least} to {most}."
        )
    return value


def _whole(rows: Sequence[_Row]) -> tuple[Hour, ...]:
    """The hours of one day, each the mean of its rows."""
    return tuple(
        _mean([row.hour for row in found]) for _, found in groupby(rows, lambda row: row.time.hour)
    )


def _mean(hours: Sequence[Hour]) -> Hour:
    pues = [hour.pue for hour in hours if hour.pue is not None]
    return Hour(fmean(hour.g_per_kwh for hour in hours), fmean(pues) if pues else None)


def _zone(time: datetime) -> str:
    return time.tzname() or "a zone that it does not name"
