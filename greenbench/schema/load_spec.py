"""How requests reach the model, and how soon they must be answered: the groups ``load`` and ``slo``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

from greenbench.errors import UserError
from greenbench.schema.enums import Arrivals, Lengths
from greenbench.schema.ranges import require

SWEEP = "sweep"
"""As a rate: geometric steps until both models are saturated, found in the run itself."""
MOST_RATE, MOST_AT_ONCE = 100_000.0, 4096
OPEN = {Arrivals.poisson, Arrivals.gamma, Arrivals.constant, Arrivals.trace}


@dataclass(frozen=True)
class LoadSpec:
    """How requests reach the model."""

    arrivals: Arrivals = Arrivals.closed
    """When each is sent."""
    rate: Any = None
    """Of open arrivals, in requests per second: a number, an ascending list of them, or ``sweep``; null of a
    trace: the trace's own."""
    concurrency: Any = None
    """Of ``concurrent`` arrivals, the users who each ask again once answered: a number, or an ascending
    list."""
    cv: float | None = None
    """Of ``gamma`` arrivals: standard deviation of the gaps over their mean; 1 is poisson, more comes in
    bursts."""
    trace: str | None = None
    """CSV or JSONL file of a trace; null: the one that comes with GreenBench. Its path is never
    recorded."""
    lengths: Lengths = Lengths.fixed
    """How long prompts and answers are."""
    spread: float = 0.5
    """Of ``lognormal`` lengths: standard deviation of their logarithm, around the workload's as medians."""
    shared: float = 0.0
    """Share of each prompt that is the same in all of a run, as a system prompt is: else none comes again,
    and a cache of prefixes shows what it costs."""
    at_once: int = 16
    """Requests that the engine may answer beside each other; more wait in its queue."""

    def __post_init__(self) -> None:
        require(
            1 <= self.at_once <= MOST_AT_ONCE, "load.at_once", self.at_once, f"1 to {MOST_AT_ONCE}"
        )
        require(0 < self.spread <= 2, "load.spread", self.spread, "above 0, and 2 at most")
        require(0 <= self.shared <= 0.95, "load.shared", self.shared, "0 to 0.95")
        if self.shared:
            _only(
                True, "shared", not self.is_closed, "load.arrivals=poisson, or another that is open"
            )
            if self.lengths is Lengths.texts:
                raise UserError(
                    "load.lengths=texts asks each text whole, and load.shared has them begin alike: leave "
                    "one of the two out."
                )
        self._check_loads("rate", self.arrivals in OPEN, MOST_RATE, whole=False)
        self._check_loads(
            "concurrency", self.arrivals is Arrivals.concurrent, MOST_AT_ONCE, whole=True
        )
        _only(self.cv is not None, "cv", self.arrivals is Arrivals.gamma, "load.arrivals=gamma")
        if self.cv is not None:
            require(0.1 <= self.cv <= 10, "load.cv", self.cv, "0.1 to 10")
        _only(
            self.trace is not None,
            "trace",
            self.arrivals is Arrivals.trace,
            "load.arrivals=trace",
            may=True,
        )
        if self.lengths is Lengths.trace:
            _only(True, "lengths=trace", self.arrivals is Arrivals.trace, "load.arrivals=trace")
        if not self.is_closed and self.rate is None and self.concurrency is None:
            name = "rate" if self.is_open else "concurrency"
            own = self.arrivals is Arrivals.trace
            _only(False, name, not own, f"load.arrivals={self.arrivals.value}")

    def _check_loads(self, name: str, takes: bool, most: float, *, whole: bool) -> None:
        given = getattr(self, name)
        if given is None:
            return
        if not takes:
            others = "concurrent" if whole else "poisson, gamma, constant or trace"
            raise UserError(
                f"load.{name}={_plain(given)} says nothing of load.arrivals={self.arrivals.value}: say "
                f"load.{name}=null, or load.arrivals={others}."
            )
        if given == SWEEP and not whole:
            return
        kind, values = (int if whole else int | float), _listed(given)
        right = [
            isinstance(each, kind)
            and not isinstance(each, bool)
            and isfinite(each)
            and 0 < each <= most
            for each in values
        ]
        if (
            not values
            or not all(right)
            or any(after <= before for before, after in pairwise(values))
        ):
            or_sweep = "" if whole else ", or sweep"
            raise UserError(
                f"load.{name}={_plain(given)} is out of range: give a {'whole ' * whole}number above 0 and "
                f"up to {most:g}, an ascending list of such{or_sweep}."
            )

    @property
    def is_closed(self) -> bool:
        """Whether each batch is sent when the one before is answered, as in runs without load."""
        return self.arrivals is Arrivals.closed

    @property
    def is_open(self) -> bool:
        """Whether requests come at their own times, however long the answers take."""
        return self.arrivals in OPEN

    @property
    def points(self) -> tuple[float, ...]:
        """The loads to be measured, rates or users; empty where the run itself finds them."""
        given = self.rate if self.is_open else self.concurrency
        return () if given in (None, SWEEP) else tuple(map(float, _listed(given)))


@dataclass(frozen=True)
class SloSpec:
    """How soon a request must be answered to be worth anything; null: no limit."""

    ttft_ms: float | None = None
    """From when it was due to its first token."""
    tpot_ms: float | None = None
    """Mean between its later tokens."""
    share: float = 0.9
    """Of all requests that must be answered so soon, for a rate to count as served."""

    def __post_init__(self) -> None:
        for name in ("ttft_ms", "tpot_ms"):
            limit = getattr(self, name)
            if limit is not None:
                require(0 < limit < float("inf"), f"slo.{name}", limit, "above 0, or null")
        require(0 < self.share < 1, "slo.share", self.share, "above 0 and below 1")

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.ttft_ms is not None or self.tpot_ms is not None


def _only(given: bool, name: str, takes: bool, where: str, *, may: bool = False) -> None:
    """What is given belongs where it is taken, and unless it only `may` be there, the other way round."""
    if given and not takes:
        raise UserError(f"load.{name} is only for {where}: leave it out, or say that.")
    if takes and not given and not may:
        raise UserError(f"load.{name} is missing: {where} needs it; add load.{name}=...")


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


def _plain(given: Any) -> str:
    return ",".join(map(str, given)) if isinstance(given, list | tuple) else str(given)
