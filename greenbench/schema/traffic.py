"""What came of the requests of a load: in one window, at one load, and over all loads of a run."""

from __future__ import annotations

from typing import Literal

from greenbench.schema.quantity import Part, Quantity

Side = Literal["baseline", "candidate"]


class Latencies(Part):
    """Seconds that many requests took, in ascending order."""

    n: int
    """Requests."""
    seconds: list[float]
    """All of them, or of many evenly spaced ones, each standing for as many."""


class Gauges(Part):
    """What the server told of itself while a window lasted, at even steps; null where it did not answer."""

    step_s: float
    """Seconds between two of them."""
    running: list[float | None]
    """Requests that it was answering."""
    waiting: list[float | None]
    """Requests in its queue."""


class Traffic(Part):
    """The requests of one window. Their latencies count from when they were due."""

    due: int
    """Requests whose time fell into the window."""
    ended: int
    """Requests whose whole answer was there by its end, and not at its start."""
    failed: int
    """Of those due, without a whole answer: refused, cut off or broken."""
    unfinished: int
    """Of those due, given up on a while after the window."""
    requests: float
    """Answers made within it: each counts by the share of its tokens that came then, one without any where it
    ended."""
    good: int | None
    """Of those due, answered within the limits; null without limits."""
    late_s: float
    """Mean seconds from when a request was due to when it was sent."""
    ttft: Latencies
    """To the first token."""
    tpot: Latencies
    """Between its later tokens, a request's mean."""
    e2e: Latencies
    """To the end of the answer."""
    in_flight: list[int]
    """Requests sent and not ended, at even steps through the window."""
    flight_s: float
    """Seconds that requests were in flight within it, summed."""
    busy: float
    """Share of the window with any in flight."""
    cut: int | None = None
    """Of those due, not asked at the lengths that were drawn for them: longer, or shorter, than any that is
    asked. Null where it was not counted."""
    silent: int | None = None
    """Of those due, answered without a token: there was no first one to wait for. Null where it was not
    counted."""
    gauges: Gauges | None = None
    """Null where the engine tells none."""


class AtLoad(Part):
    """One model at one load."""

    metrics: dict[str, Quantity]
    """By name, as energy_per_request_j, e2e_p99_s, goodput_per_s."""
    saturated: bool
    """Whether its queue grew for as long as was looked: latency is unbounded."""


class LoadPoint(Part):
    """Both models at one load, paired by block."""

    load: float
    """Requests per second, or users."""
    blocks: int
    """Valid ones."""
    baseline: AtLoad
    candidate: AtLoad
    ratios: dict[str, Quantity]
    """Candidate over baseline by the metric's ratio."""

    def side(self, side: Side) -> AtLoad:
        """One of the two."""
        return self.baseline if side == "baseline" else self.candidate


class Capacity(Part):
    """The most that one model serves within the limits, of the loads that were measured."""

    load: Quantity
    """Largest load that kept the limits; its interval is from the last that surely did to the first that
    surely did not."""
    energy_per_request: Quantity
    """Always-on, at that load."""


class Crossing(Part):
    """Where the model that takes less energy changes."""

    load: Quantity
    """Null with the reason where it does not, or is not shown to."""
    below: Side | None
    """Which takes less under it; with no crossing, at every load; null: not shown."""


class LoadCurve(Part):
    """All loads of a run."""

    unit: Literal["request/s", "users"]
    """Of every load."""
    headline: float
    """The load of the run's own numbers, chosen before anything was measured."""
    points: list[LoadPoint]
    """Ascending."""
    capacity: dict[Side, Capacity]
    crossing: Crossing
    correlation_s: Quantity
    """For how long the number of requests in flight remembers itself."""
