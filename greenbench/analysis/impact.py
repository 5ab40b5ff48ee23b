"""From joules to carbon, cost and water. What is not measured is assumed, and says so."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from greenbench.analysis.energy.grid_by_hour import GridByHour, grid_by_hour
from greenbench.arguments import texts
from greenbench.errors import UserError
from greenbench.paths import conf_dir
from greenbench.wording import meant

GRID = Path(__file__).with_name("grid_carbon.csv")
J_PER_KWH = 3.6e6
HOURS_PER_YEAR = 8766
MOST_TOKENS = 1e18
RANGES = {
    "pue": (1, 100),
    "price_per_kwh": (0, 1_000_000),
    "water_l_per_kwh": (0, 1_000_000),
    "embodied_kg": (0, 1_000_000),
    "embodied_cpu_kg": (0, 1_000_000),
    "lifetime_years": (0.01, 1000),
    "utilisation": (0.001, 1),
    "tokens_per_query": (1, 1_000_000_000),
}
"""What an assumption may be: far beyond all that there is, and finite."""


class Grid(NamedTuple):
    """Electricity of one country in one year."""

    country: str
    year: int
    g_per_kwh: float


@dataclass(frozen=True)
class Assumptions:
    """What turns joules into impact; ``conf/impact/default.yaml`` has the defaults and their sources."""

    country: str
    pue: float
    price_per_kwh: float
    currency: str
    water_l_per_kwh: float
    embodied_kg: float
    embodied_cpu_kg: float | None
    lifetime_years: float
    utilisation: float
    tokens_per_query: int
    by_hour: GridByHour | None = None
    """Of loads that can wait, what ``report --grid-by-hour`` gives; null: nothing is said of them."""
    tokens_served: float | None = None
    """Over a model's life, what ``report --tokens-served`` gives; null: totals are not told."""

    def __post_init__(self) -> None:
        if self.country not in grids():
            raise UserError(
                f"impact.country={self.country} is unknown: give a three-letter code such as FRA, "
                f"USA or WORLD{meant(self.country, grids())}."
            )
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if name == "embodied_cpu_kg" and value is None:
                continue
            if not (isinstance(value, int | float) and low <= value <= high):  # nan is in no range
                raise UserError(
                    f"impact.{name}={value} is out of range: allowed is {low} to {high}."
                )

    @property
    def grid(self) -> Grid:
        """The country's electricity."""
        return grids()[self.country]

    def made_kg(self, kind: str) -> float | None:
        """CO2e of making a device of this `kind`, null where not known: a CPU is charged no accelerator."""
        return self.embodied_cpu_kg if kind == "cpu" else self.embodied_kg

    def on(self, kind: str) -> Assumptions:
        """Those of a device of this `kind`; what is not known of making it adds nothing."""
        return replace(self, embodied_kg=self.made_kg(kind) or 0.0)


class Impact(NamedTuple):
    """What so many tokens cost the world, everything behind the joules assumed."""

    energy_kwh: float
    """At the building's meter: the device's energy times PUE."""
    operational_g: float
    embodied_g: float
    """The device's share: seconds of use over its lifetime."""
    cost: float
    water_l: float

    @property
    def carbon_g(self) -> float:
        """Software carbon intensity, (E x I) + M per functional unit (ISO/IEC 21031:2024)."""
        return self.operational_g + self.embodied_g


@cache
def grids() -> Mapping[str, Grid]:
    """Carbon intensities by code."""
    lines = (line for line in GRID.read_text().splitlines() if not line.startswith("#"))
    return {
        row["code"]: Grid(row["country"], int(row["year"]), float(row["g_per_kwh"]))
        for row in csv.DictReader(lines)
    }


def assumptions(changes: Sequence[str] = ()) -> Assumptions:
    """The defaults with ``KEY=VALUE`` `changes`. Raises UserError, one sentence, for what is wrong."""
    values = yaml.safe_load((conf_dir() / "impact" / "default.yaml").read_text())
    kinds = {field.name: field.type for field in fields(Assumptions) if field.name in values}
    return Assumptions(**(values | dict(_change(text, kinds) for text in changes)))


def surroundings(
    changes: Assumptions | Iterable[str],
    by_hour: Path | None = None,
    tokens_served: float | None = None,
) -> Assumptions:
    """What a caller's `changes` assume, with the grid of a file `by_hour`, and how many tokens are served.

    Raises UserError likewise.
    """
    if not isinstance(changes, Assumptions):
        changes = assumptions(texts("impact", changes, '["country=FRA", "pue=1.2"]'))
    if tokens_served is not None:
        if not (isinstance(tokens_served, int | float) and 0 < tokens_served <= MOST_TOKENS):
            raise UserError(
                f"tokens_served={tokens_served} is no number of tokens: give one above 0, {MOST_TOKENS:g} at "
                "most."
            )
        changes = replace(changes, tokens_served=float(tokens_served))
    return replace(changes, by_hour=grid_by_hour(by_hour)) if by_hour else changes


def _change(text: str, kinds: Mapping[str, object]) -> tuple[str, object]:
    key, _, value = (part.strip() for part in text.partition("="))
    if key not in kinds:
        raise UserError(
            f"impact.{key} is unknown: allowed are {', '.join(sorted(kinds))}{meant(key, kinds)}."
        )
    if kinds[key] == "str":
        return key, value
    try:
        return key, int(value) if kinds[key] == "int" else float(value)
    except ValueError as error:
        raise UserError(f"impact.{key}={value} is not a number: give one.") from error


def impact(energy_j: float, seconds: float, given: Assumptions) -> Impact:
    """Impact of `energy_j` joules that one device drew in `seconds` of use.

    Of making it, M = TE x TiR / EL (ISO/IEC 21031): time reserved, which is that of use and its share of the
    time without any, over the expected life.
    """
    energy_kwh = energy_j * given.pue / J_PER_KWH
    used_s = given.lifetime_years * HOURS_PER_YEAR * 3600 * given.utilisation
    return Impact(
        energy_kwh=energy_kwh,
        operational_g=energy_kwh * given.grid.g_per_kwh,
        embodied_g=1000 * given.embodied_kg * seconds / used_s,
        cost=energy_kwh * given.price_per_kwh,
        water_l=energy_j / J_PER_KWH * given.water_l_per_kwh,
    )
