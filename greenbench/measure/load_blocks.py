"""Windows under load: requests come when users send them, and the meters look in on that for a while."""

from __future__ import annotations

import time
from dataclasses import dataclass

from greenbench.analysis.queueing import DRAIN, RAMP
from greenbench.engines.engine import Served
from greenbench.measure.arrivals import Demand
from greenbench.measure.driver import STAGGER_S, Flow, at_times, by_users
from greenbench.measure.pair import Pair
from greenbench.measure.recorder import Recorder
from greenbench.measure.schedule import Cell, Kind, Take
from greenbench.measure.tally import tally
from greenbench.schema.load_spec import SloSpec
from greenbench.schema.spec import ProtocolSpec
from greenbench.schema.window import WHO, Place, Who


@dataclass(frozen=True)
class Loads:
    """All loads of a run, and what is asked under them."""

    demand: Demand
    slo: SloSpec
    points: tuple[float, ...]
    """Ascending."""
    strangers: frozenset[Who] = frozenset()
    """Whose prompts are others of the same lengths: what a server has kept of the baseline's would be a
    gift."""

    @property
    def headline(self) -> float:
        """The load of the run's own numbers: the middle one, whatever comes out."""
        return self.points[len(self.points) // 2]

    @property
    def kinds(self) -> list[Kind]:
        """What is done in a block with either model."""
        return [("serve", point) for point in self.points]

    def flow(self, served: Served, who: Who, point: float, block: int) -> Flow:
        """Its requests, on their way while it is open; the same for both models in the same block."""
        cell = block * len(self.points) + self.points.index(point)
        other = who in self.strangers
        if self.demand.load.is_open:
            return at_times(served, self.demand.arrivals(point, cell, other=other))
        return by_users(served, self.demand.requests(cell, other=other), int(point))


def ramp_s(protocol: ProtocolSpec) -> float:
    """Seconds of load before a window; users have all come in by then.

    They are the same for both models, or their windows would see other arrivals. A window must be ten times
    as long as the queue remembers itself: three of those times have passed.
    """
    return max(RAMP * protocol.window_s, STAGGER_S)


def under_load(recorder: Recorder, loads: Loads, protocol: ProtocolSpec) -> Take:
    """Windows in the middle of a load that had begun before, and goes on until they have ended."""

    def take(cell: Cell, served: Served) -> None:
        assert cell.load is not None
        series = "block" if cell.load == loads.headline else "load"
        place = Place(series=series, unit=cell.block, position=cell.position, load=cell.load)
        with loads.flow(served, cell.who, cell.load, cell.block) as flow:
            flow.wait(ramp_s(protocol))
            start_s, end_s = recorder.watch("serve", cell.who, served, protocol.window_s, place)
            outcomes, polls = flow.stop(DRAIN * protocol.window_s)
        told = tally(outcomes, polls, start_s, end_s, loads.slo)
        recorder.tell(**told._asdict())
        recorder.sent.add(None if loads.strangers else cell.who, flow.asked)

    return take


def capacities(
    pair: Pair, demand: Demand, strangers: frozenset[Who], protocol: ProtocolSpec
) -> dict[Who, float]:
    """Requests per second that each model answers when there is always another, unmetered."""
    users = demand.load.at_once
    found: dict[Who, float] = {}
    for who in WHO:
        requests = demand.requests(-1, other=who in strangers)
        with pair.use(who) as served, by_users(served, requests, users) as flow:
            flow.wait(ramp_s(protocol))
            start_s = time.perf_counter()
            flow.wait(protocol.window_s)
            end_s = time.perf_counter()
            outcomes, polls = flow.stop(DRAIN * protocol.window_s)
        told = tally(outcomes, polls, start_s, end_s, SloSpec())
        found[who] = told.traffic.requests / (end_s - start_s)
    return found
