"""What a model under load draws at a rate between those that were measured, block by block."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

from greenbench.analysis.load_curve import by_load
from greenbench.analysis.load_point import seconds
from greenbench.analysis.readings import joules
from greenbench.schema.record import Record
from greenbench.schema.window import WHO, Who, Window
from greenbench.wording import number

NO_RATE = (
    "it was measured with users, who wait for their answers, and not at a rate: load.arrivals=poisson "
    "load.rate=sweep does that"
)


class Pace(NamedTuple):
    """One device at one rate, in one block."""

    power_w: float
    busy: float
    """Share of its time."""
    tokens_per_s: float


class Curve(NamedTuple):
    """One model's device against the rate, by block."""

    rates: list[float]
    """Ascending."""
    paces: list[Mapping[int, Pace]]
    """Of each rate, by block."""

    def at(self, rate: float, idle_w: float) -> tuple[dict[int, Pace], float]:
        """By block, on the straight line between the rates beside `rate`, and the weight of `idle_w` in it.

        At rate 0 the device draws `idle_w`. Raises ValueError beyond the largest rate.
        """
        above = bisect_left(self.rates, rate)
        if above == len(self.rates):
            raise ValueError(f"{rate} is beyond {self.rates}")
        right = self.paces[above]
        nothing = dict.fromkeys(right, Pace(idle_w, 0.0, 0.0))
        left, start = (self.paces[above - 1], self.rates[above - 1]) if above else (nothing, 0.0)
        share = (rate - start) / (self.rates[above] - start)
        found = {
            block: Pace(
                *(a + share * (b - a) for a, b in zip(left[block], right[block], strict=True))
            )
            for block in sorted(left.keys() & right.keys())
        }
        return found, 0.0 if above else 1 - share


def curve(record: Record, who: Who) -> Curve:
    """What `who` drew at each rate at which its queue did not grow, up to the first at which it did."""
    grown = (
        [point.load for point in record.load.points if point.side(who).saturated]
        if record.load
        else []
    )
    kept = {
        load: {block: pace for w in side if (pace := _pace(w)) for block in [w.place.unit if w.place else 0]}
        for load, sides in by_load(record.windows).items()
        for side in [sides.baseline if who == "baseline" else sides.candidate]
        if not grown or load < min(grown)
    }  # fmt: skip
    return Curve(list(kept), list(kept.values()))


def _pace(window: Window) -> Pace | None:
    energy_j, traffic = joules(window), window.traffic
    if energy_j is None or traffic is None:
        return None
    whole_s = seconds(window)
    return Pace(energy_j / whole_s, traffic.busy, window.tokens / whole_s)


def beyond(record: Record, rate: float) -> str | None:
    """Why no joules are known of one device of either model at `rate`, limits or not; null: they are."""
    if record.load is None or record.load.unit != "request/s":
        return NO_RATE
    for who in WHO:
        rates = curve(record, who).rates
        if not rates:
            return f"the queue of the {who} grows at the smallest measured rate already"
        if rate > rates[-1]:
            return (
                f"one device of the {who} was seen to keep up with {number(rates[-1])} requests/s, and these "
                f"are {number(rate)}"
            )
    return None
