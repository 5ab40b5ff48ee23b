"""Intervals of the energy ratio: by noise, tier and design."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from greenbench.simulate.block_values import protocol, values
from greenbench.simulate.claims.said import Case, Told
from greenbench.simulate.weather import KINDS, Weather
from greenbench.stats.intervals import CONFIDENCE, Interval, paired_ratio, unpaired_ratio
from greenbench.stats.sessions import allowing, pooled

TRUE: Final = 0.8
CLAIM: Final = "interval of the energy ratio"
TIERS: Final = {"dev": (0.01, 0.03, 0.05), "publish": (0.005, 0.02)}
"""Spreads of a block, by tier: from the planned blocks alone to as many as there may be."""
IN_TURN: Final = (
    Weather("independent", 0.02),
    Weather("walk", 0.02),
    Weather("trend", 0.02),
    Weather("independent", 0.01, reload=0.01),
)


def holds(found: Interval, true: float) -> list[Told]:
    """Whether the truth lies within; nothing where there is no interval."""
    return (
        []
        if found.bounds is None
        else [Told(CONFIDENCE, found.bounds[0] <= true <= found.bounds[1])]
    )


def ratio(
    weather: Weather, tier: str, dice: np.random.Generator, *, in_turn: bool = False
) -> list[Told]:
    """Of one run."""
    found = values(TRUE, weather, protocol(tier), dice, in_turn=in_turn)
    return holds(paired_ratio(*found), TRUE)


def sessions(weather: Weather, count: int, dice: np.random.Generator) -> list[Told]:
    """Of so many sessions, pooled."""
    runs = [values(TRUE, weather, protocol("dev"), dice) for _ in range(count)]
    return holds(pooled([paired_ratio(*run) for run in runs]).ratio, TRUE)


def next_session(weather: Weather, count: int, dice: np.random.Generator) -> list[Told]:
    """Whether the next of so many sessions shows a ratio within the wider interval."""
    runs = [paired_ratio(*values(TRUE, weather, protocol("dev"), dice)) for _ in range(count + 1)]
    said = pooled(runs[:count]).next
    return [Told(CONFIDENCE, said[0] <= runs[count].value <= said[1])] if said else []


def unchanged(weather: Weather, dice: np.random.Generator) -> list[Told]:
    """Whether a run that nothing changed breaks a limit of ``compare``, of one session each."""
    sides = [values(1.0, weather, protocol("dev"), dice).candidate for _ in "AB"]
    sure = allowing(unpaired_ratio(*sides))
    return [Told((1 - CONFIDENCE) / 2, bool(sure.low and sure.low > 1))]


def cases(labs: int) -> list[Case]:
    """All of them."""
    found = [
        Case(CLAIM, f"{tier}, {kind} noise, blocks that spread {100 * spread:g} %", "so often",
             partial(ratio, Weather(kind, spread), tier), labs)
        for tier, spreads in TIERS.items() for kind in KINDS for spread in spreads
    ]  # fmt: skip
    for each in IN_TURN:
        shifts = f", each loading {100 * each.reload:g} % off" if each.reload else ""
        found.append(
            Case(f"{CLAIM}, models in turn", f"dev, {each.kind} noise, {100 * each.spread:g} %{shifts}",
                 "so often", partial(ratio, each, "dev", in_turn=True), labs)
        )  # fmt: skip
    apart = Weather("independent", 0.02, session=0.02)
    where = "dev, sessions that differ by 2 %"
    found.append(
        Case(f"{CLAIM}, one session for all", where, "so often", partial(ratio, apart, "dev"), labs)
    )
    found += [
        Case(f"{CLAIM} over sessions", f"{where}, {count} of them", "so often",
             partial(sessions, apart, count), labs // 2)
        for count in (2, 3, 5)
    ]  # fmt: skip
    found += [
        Case("ratio that the next session shows", f"{where}, after {count} of them", "so often",
             partial(next_session, apart, count), labs // 2)
        for count in (3, 5)
    ]  # fmt: skip
    found.append(
        Case("an unchanged run breaks a limit of `compare`", "dev, sessions that differ by 5 %", "at most",
             partial(unchanged, Weather("independent", 0.02, session=0.05)), labs)
    )  # fmt: skip
    return found
