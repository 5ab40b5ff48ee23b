"""What the model that waits costs the one that is measured: watts drawn idle, and CPU time."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.analysis.blocks import as_amount, as_quantity, idle_powers
from greenbench.analysis.readings import ANSWERED, joules
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Waiting
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.intervals import MARGIN, difference, mean_interval

SPINS = 0.05
"""Of one CPU: a server that has nothing to do takes less."""


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
