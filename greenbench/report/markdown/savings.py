"""What a run saves in a year, in three cases, and when its preparation has paid back, in words."""

from __future__ import annotations

from typing import Final

from greenbench.analysis.choices.advice import Option
from greenbench.analysis.energy.per_request import ALWAYS_ON, OFF, SHARED, Basis
from greenbench.analysis.energy.promises import prepare_energy
from greenbench.analysis.energy.savings import Savings
from greenbench.analysis.impact import Assumptions
from greenbench.schema.quantity import Quantity, said
from greenbench.wording import number, plain

CASES: Final[dict[Basis, str]] = {
    ALWAYS_ON: "on a device that stays on",
    SHARED: "if others use the time that it frees",
    OFF: "if the device is switched off when idle",
}


def gains(option: Option) -> list[str]:
    """Each case, and the payback; nothing where no saving is shown."""
    if not option.cases:
        return []
    yearly = bool(option.payback)
    return [*(_saving(each, yearly=yearly) for each in option.cases.values()), _payback(option)]


def _saving(saved: Savings, *, yearly: bool) -> str:
    case, energy = CASES[saved.basis], saved.energy_kwh
    if energy.value is None:
        return f"{case}: what it saves is not known ({plain(energy.reason)})"
    when = "a year" if yearly else f"for each {saved.requests:,.0f} requests"
    known = yearly or saved.basis != ALWAYS_ON  # without a rate no one knows how long it idles
    of = f" of {amount(saved.baseline_kwh)}" if known else ""
    return (
        f"{case}: saves {amount(energy)}{of} {when}, {amount(saved.cost)} and "
        f"{amount(saved.carbon_kg)}"
    )


def amount(quantity: Quantity) -> str:
    """A quantity with its unit."""
    unit = quantity.unit.replace("CO2e", "CO₂e")
    return f"{said(quantity)} {unit}"


def _payback(option: Option) -> str:
    """When the saving has paid for the joules of the preparation."""
    once = prepare_energy(option.row)
    if once.value is None:
        return f"when it pays back is not known: {plain(once.reason)}"
    took = f"its preparation took {_joules(once.value)}"
    if not option.payback:
        return f"{took}; give --requests-per-day to learn when that pays back"
    always_on, shared = (
        _after(option.payback[basis], CASES[basis]) for basis in (ALWAYS_ON, SHARED)
    )
    return f"{took}; at that rate {always_on}, {shared}"


def _after(days: Quantity, case: str) -> str:
    if days.value is None:
        return f"{case}: {plain(days.reason)}"
    interval = days.bounds
    between = "" if interval is None else f" ({in_days(interval[0])} to {in_days(interval[1])})"
    return f"{case} paid back after {in_days(days.value)}{between}"


def _joules(count: float) -> str:
    return f"{number(count / 1000)} kJ" if count >= 1000 else f"{number(count)} J"


def in_days(days: float) -> str:
    """Days in a unit that reads well."""
    if days < 1 / 1440:
        return f"{number(days * 86400)} seconds"
    if days < 1 / 24:
        return f"{number(days * 1440)} minutes"
    if days < 2:
        return f"{number(days * 24)} hours"
    return f"{number(days)} days" if days < 730 else f"{number(days / 365.25)} years"


def making(given: Assumptions) -> str:
    """What is charged for making a device, and over what it is spread."""
    cpu_kg = given.embodied_cpu_kg
    of_cpu = (
        "of a CPU's machine not known, and not charged"
        if cpu_kg is None
        else f"{cpu_kg:g} a CPU's machine"
    )
    return (
        f"{given.embodied_kg:g} kg CO₂e to make an accelerator ({of_cpu}), spread over "
        f"{given.lifetime_years:g} years of {100 * given.utilisation:g} % utilisation"
    )


def assumed(given: Assumptions) -> str:
    """What stands behind all but the joules, and how idle power counts."""
    grid = given.grid
    return (
        f"Assumed (conf/impact, --country, --impact KEY=VALUE): electricity of {grid.country} in "
        f"{grid.year}, {number(grid.g_per_kwh)} g CO₂e/kWh (Ember, CC BY 4.0); PUE {given.pue:g}; "
        f"{given.price_per_kwh:g} {given.currency}/kWh; {making(given)}. Intervals are the joules' alone. A "
        "device that stays on draws idle power whether it is asked or not: there a request saves its "
        "joules less idle power times the time that it frees. Only where others use that time does it "
        "shed a share of making the device. Of a run with one session, 95 % are of that session."
    )
