"""Power at rest, with its doubt; and what the model that waits costs the one that is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import hypot
from typing import NamedTuple

from greenbench.analysis.blocks import as_amount, as_quantity
from greenbench.analysis.readings import ANSWERED, joules
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.record import Waiting
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.intervals import MARGIN, difference, mean_interval

NO_IDLE = "idle power was not measured: no idle window with a model loaded (protocol.idle_s)"
SPINS = 0.05
"""Of one CPU: a server that has nothing to do takes less."""


class Idle(NamedTuple):
    """Idle windows that count."""

    windows: int
    powers_w: list[float]
    """Of those with joules."""
    provenance: Provenance


def idle_powers(windows: Sequence[Window], who: str) -> Idle:
    """The valid idle windows while `who` was loaded, and what each drew."""
    mine = [w for w in windows if w.phase == "idle" and w.who == who and w.validity != "invalid"]
    powers = [joules(w) / (w.end_s - w.start_s) for w in mine if w.energy]  # type: ignore[operator]
    known = bool(mine and mine[0].energy)
    return Idle(len(mine), powers, mine[0].energy[0].provenance if known else "unavailable")


def idle_power(windows: Sequence[Window], no_energy: str) -> dict[str, Quantity]:
    """Mean power in watts of the idle windows, by what was loaded."""
    found = {}
    for who in ("empty", "one", "both", "unloaded"):
        idle = idle_powers(windows, who)
        if idle.powers_w:
            found[who] = as_amount(mean_interval(idle.powers_w), "W", idle.provenance)
        elif idle.windows:
            found[who] = missing("W", no_energy)
    return found


def resting_power(idle: Mapping[str, Quantity]) -> Quantity:
    """Idle watts with both models loaded, else with the baseline alone."""
    known = [idle[who] for who in ("both", "one") if who in idle]
    found = next((power for power in known if power.value is not None), None)
    return found or (known[0] if known else missing("W", NO_IDLE))


def half_width(quantity: Quantity) -> float:
    """Half of its 95 % interval; 0 without one."""
    interval = quantity.bounds
    return (interval[1] - interval[0]) / 2 if interval else 0.0


def doubted(found: Quantity, shift: float, idle: Quantity) -> Quantity:
    """It with the doubt of idle power in its interval, which that moves by up to `shift` either way.

    The two are independent, so their halves add as squares. Without an interval of idle power it has none.
    """
    value, interval = found.value, found.bounds
    if value is None or interval is None:
        return found
    if idle.bounds is None:
        why = {"low": None, "high": None, "reason": f"idle power has no interval: {idle.reason}"}
        return found.model_copy(update=why)
    low, high = value - hypot(value - interval[0], shift), value + hypot(interval[1] - value, shift)
    return found.model_copy(update={"low": low, "high": high})


def waiting(windows: Sequence[Window], no_energy: str, apart: str | None) -> Waiting:
    """What is known of it; `apart` says why the two were not loaded at once, where they were not."""
    shares = {who: share for who in WHO if (share := _cpu_share(windows, who)) is not None}
    return Waiting(power=_power(windows, no_energy, apart), cpu=shares)


def waiting_codes(found: Waiting, windows: Sequence[Window]) -> list[str]:
    """``waiting_costs`` where it is seen.

    In watts whose whole interval is above 0, and which are over 2 % of what the model that draws less
    draws while it generates; or in over 5 % of a CPU.
    """
    power = found.power
    drawn = [w for who in WHO if (w := _drawn_w(windows, who)) is not None]
    draws = power.value is not None and power.low is not None and power.low > 0 and bool(drawn)
    seen = draws and (power.value or 0.0) > MARGIN * min(drawn)
    spins = any((share.value or 0.0) > SPINS for share in found.cpu.values())
    return ["waiting_costs"] if seen or spins else []


def _power(windows: Sequence[Window], no_energy: str, apart: str | None) -> Quantity:
    if apart:
        return missing("W", f"the two models were not loaded at once: {apart}")
    one, both = (idle_powers(windows, who) for who in ("one", "both"))
    if not one.powers_w or not both.powers_w:
        known = one.windows and both.windows
        return missing("W", no_energy if known else "no idle window with one model and with both")
    return as_quantity(difference(one.powers_w, both.powers_w), "W", both.provenance)


def _cpu_share(windows: Sequence[Window], waits: Who) -> Quantity | None:
    """Of one CPU, by the server of the model that `waits`, in the other's blocks; null without a server."""
    shares = [
        w.waiting_cpu_s / (w.end_s - w.start_s)
        for w in windows
        if w.block is not None and w.who != waits and w.waiting_cpu_s is not None
    ]
    return as_amount(mean_interval(shares), "fraction", "measured:clock") if shares else None


def _drawn_w(windows: Sequence[Window], who: Who) -> float | None:
    """Mean power while it generates."""
    powers = [
        counted_j / (w.end_s - w.start_s)
        for w in windows
        if w.who == who and w.phase in ANSWERED and (counted_j := joules(w)) is not None
    ]
    return sum(powers) / len(powers) if powers else None
