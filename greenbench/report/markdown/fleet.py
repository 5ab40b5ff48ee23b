"""How many devices serve a rate and what they draw, for a terminal, for markdown and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from greenbench.analysis.choices.fleet import Demand, Devices, Fleet
from greenbench.analysis.groups.rows import Group
from greenbench.analysis.impact import Assumptions
from greenbench.report.markdown.lines import Line, markdown_of, text_of
from greenbench.report.markdown.savings import amount
from greenbench.schema.quantity import Quantity, said
from greenbench.wording import number, plain

Found: TypeAlias = Sequence[tuple[Group, Sequence[Fleet]]]

NOTHING = (
    "No run of a technique was measured under load, at a rate, so how many devices serve yours is not shown. "
    "Measure one up to saturation first, such as:"
)
HOW = (
    "Devices share the rate evenly, and are as few as what one was seen to serve allows. What each draws "
    "lies on the straight line between measured rates, or between idle and the lowest; only an interval's "
    "end with fewer devices than were seen to serve it goes beyond the last, by what a request adds there. "
    "Intervals hold those of the blocks, of idle power and of how many devices it takes: rates measured "
    "closer together narrow them."
)


def as_text(found: Found, demand: Demand, given: Assumptions, first: str) -> str:
    """For a terminal; `first` is the command that measures one where there is none."""
    return text_of(_lines(found, demand, given, first))


def as_markdown(found: Found, demand: Demand, given: Assumptions, first: str) -> str:
    """For a page or a pull request; `first` as above."""
    return markdown_of(_lines(found, demand, given, first))


def _lines(found: Found, demand: Demand, given: Assumptions, first: str) -> Iterator[Line]:
    if not found:
        yield Line("say", NOTHING)
        yield Line("run", first)
        return
    for group, fleets in found:
        yield Line("head", group.setting.title)
        yield Line("say", f"To serve {demand.rate:g} requests/s, judged by {fleets[0].judged}:")
        for each in fleets:
            yield from _fleet(each)
    yield Line("say", HOW)
    yield Line("say", _assumed(given))


def _fleet(found: Fleet) -> Iterator[Line]:
    yield Line("item", f"{found.row.label}: {_answer(found)}")
    yield Line("item", f"baseline: {_devices(found.baseline)}")
    yield Line("item", f"{found.row.label}: {_devices(found.candidate)}")


def _answer(found: Fleet) -> str:
    if found.not_shown:
        seen = "" if found.saved.bounds is None else f", {amount(_kw(found.saved))} less seen"
        return f"a difference is not shown{seen}: {plain(found.not_shown)}"
    less = (found.saved.value or 0.0) > 0
    saved = found if less else _turned(found)
    parts = [amount(each) for each in (saved.energy_kwh, saved.cost, saved.carbon_kg)]
    return (
        f"draws {amount(_kw(saved.saved))} {'less' if less else 'more'} than the baseline: "
        f"{parts[0]}, {parts[1]} and {parts[2]} a year"
    )


def _turned(found: Fleet) -> Fleet:
    """With the sign of what it saves turned."""
    saved, kwh, cost, carbon = (
        each.scaled(-1, each.unit).model_copy(
            update={"low": _minus(each.high), "high": _minus(each.low)}
        )
        for each in (found.saved, found.energy_kwh, found.cost, found.carbon_kg)
    )
    return found._replace(saved=saved, energy_kwh=kwh, cost=cost, carbon_kg=carbon)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _devices(of: Devices) -> str:
    if of.needed.value is None:
        return f"how many it takes is not shown: {plain(of.needed.reason)}"
    many = "device" if of.needed.value == 1 else "devices"
    draw = f"draw {amount(_kw(of.power))}" if of.power.value is not None else (
        f"what they draw is not known: {plain(of.power.reason)}"
    )  # fmt: skip
    return f"{_count(of.needed)} {many} of {said(of.serves)} requests/s each, {draw}"


def _count(needed: Quantity) -> str:
    """A count is whole; what is not excluded stands behind it."""
    if needed.bounds is None:
        return f"{needed.value:.0f}"
    low, high = needed.bounds
    return f"{needed.value:.0f}" if low == high else f"{needed.value:.0f} ({low:.0f} to {high:.0f})"


def _kw(watts: Quantity) -> Quantity:
    large = abs(watts.value or 0.0) >= 1000
    return watts.scaled(1e-3, "kW") if large else watts


def _assumed(given: Assumptions) -> str:
    grid = given.grid
    return (
        f"Assumed (conf/impact, --country, --impact KEY=VALUE): electricity of {grid.country} in "
        f"{grid.year}, {number(grid.g_per_kwh)} g CO₂e/kWh (Ember, CC BY 4.0); PUE {given.pue:g}; "
        f"{given.price_per_kwh:g} {given.currency}/kWh. Making the devices is not counted."
    )


def as_json(found: Found, demand: Demand, given: Assumptions, first: str) -> str:
    """For machines; `first` as above."""
    return json.dumps(document(found, demand, given, first), indent=1)


def document(found: Found, demand: Demand, given: Assumptions, first: str) -> dict[str, Any]:
    """The same, in JSON's values."""
    return {
        "asked": {"rate": demand.rate, **demand.limits._asdict()},
        "assumed": asdict(given) | {"grid": given.grid._asdict()},
        "groups": [
            group.setting._asdict() | {"runs": [_run(each) for each in fleets]}
            for group, fleets in found
        ],
        "to_measure": [] if found else [first],
    }


def _run(found: Fleet) -> dict[str, Any]:
    saved = {
        "watts": found.saved,
        "energy_kwh_a_year": found.energy_kwh,
        "cost_a_year": found.cost,
        "carbon_kg_a_year": found.carbon_kg,
    }
    return {
        "name": found.row.label,
        "key": found.row.name,
        "judged_by": found.judged,
        "baseline": _parts(found.baseline),
        "candidate": _parts(found.candidate),
        "saved": {name: quantity.model_dump() for name, quantity in saved.items()},
        "not_shown": found.not_shown,
    }


def _parts(devices: Devices) -> dict[str, Any]:
    return {name: quantity.model_dump() for name, quantity in devices._asdict().items()}
