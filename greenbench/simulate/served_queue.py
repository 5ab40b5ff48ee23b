"""Two models under load in the lab: requests come at random and queue, and a device draws watts meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, factorial, floor, log1p, sqrt
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtri

from greenbench.analysis.blocks import planned
from greenbench.analysis.queueing import DRAIN, RAMP
from greenbench.measure.outcomes import Outcome
from greenbench.measure.schedule import Cell, needed_blocks, rounds
from greenbench.measure.tally import tally
from greenbench.schema.load_spec import SloSpec
from greenbench.schema.spec import ProtocolSpec
from greenbench.schema.window import Place, Span, Who, Window
from greenbench.simulate.block_values import Levels
from greenbench.simulate.weather import Weather, windows

Service = Literal["ample", "M/M/1", "M/D/1"]
"""``ample`` servers answer each request at once, in log-normal times; one server answers one request after
another, in exponential times or in fixed ones."""
Times: TypeAlias = npt.NDArray[np.float64]
SPREAD: Final = 0.5
"""Of the logarithm of the log-normal times."""
IDLE_W: Final = 90.0
Take = Callable[[Cell, float, float], Window]
"""A window that begins at such a second, with such noise of the logarithm of its joules."""


class Model(NamedTuple):
    """How it answers."""

    answer_s: float
    """Mean seconds of an answer, its wait apart."""
    busy_w: float
    """Above idle, for each request that is being answered."""
    spins_w: float = 0.0
    """Above idle, while there is a load."""

    def joules(self, rate: float) -> float:
        """A request above idle, in the long run."""
        return self.busy_w * self.answer_s + self.spins_w / rate


def quantile_s(service: Service, answer_s: float, rate: float, share: float) -> float:
    """Seconds from when a request is due to its answer's end, which `share` of them keep."""
    if service == "ample":
        return answer_s * exp(SPREAD * float(ndtri(share)) - SPREAD**2 / 2)
    if service == "M/M/1":
        return -log1p(-share) / (1 / answer_s - rate)

    def off(waits: float) -> float:
        return _waits_no_longer(waits, rate * answer_s) - share

    return answer_s * (1 + (0.0 if off(0.0) >= 0 else float(brentq(off, 0.0, 30.0))))


def _waits_no_longer(waits: float, busy: float) -> float:
    """Chance in M/D/1, of so many answers' seconds. A. K. Erlang, Nyt Tidsskrift f. Matematik B 20 (1909)."""
    terms = [(busy * (waits - before), before) for before in range(floor(waits) + 1)]
    return (1 - busy) * sum((-left) ** n / factorial(n) * exp(left) for left, n in terms)


def mean_s(service: Service, answer_s: float, rate: float) -> float:
    """The same, of the mean request."""
    busy = rate * answer_s
    wait = {"ample": 0.0, "M/M/1": busy / (1 - busy), "M/D/1": busy / (1 - busy) / 2}[service]
    return answer_s * (1 + wait)


class Lab(NamedTuple):
    """Where both are measured."""

    service: Service
    baseline: Model
    candidate: Model
    loads: tuple[float, ...]
    plan: ProtocolSpec
    weather: Weather = Weather()
    slo: SloSpec = SloSpec()

    def model(self, who: Who) -> Model:
        """One of the two."""
        return self.baseline if who == "baseline" else self.candidate


def measured(lab: Lab, dice: np.random.Generator, *, in_turn: bool = False) -> list[Window]:
    """All windows; in one block both models meet the same requests."""
    seed = int(dice.integers(1 << 30))

    def take(cell: Cell, start_s: float, noise: float) -> Window:
        assert cell.load is not None
        own = np.random.default_rng([seed, cell.block, lab.loads.index(cell.load)])
        return _window(lab, cell, start_s, noise, own)

    return in_order(take, lab.loads, lab.weather, lab.plan, dice, in_turn=in_turn)


def in_order(
    take: Take, loads: Sequence[float], weather: Weather, plan: ProtocolSpec,
    dice: np.random.Generator, *, in_turn: bool = False,
) -> list[Window]:  # fmt: skip
    """Windows at all `loads` in the order of `schedule.rounds`, as many as the stopping rule has."""
    parts = rounds(
        plan, int(dice.integers(1 << 30)), [("serve", load) for load in loads], in_turn=in_turn
    )
    noise, levels = windows(weather, dice), Levels(weather.reload if in_turn else 0.0, dice)
    first, needed = planned(plan.blocks, in_turn=in_turn), None
    found: list[Window] = []
    for part in parts:
        for cell in part:
            found.append(take(cell, 2 * plan.window_s * len(found), next(noise) + levels.of(cell)))
        done = part[-1].block + 1
        if needed is None and done >= first:
            needed = needed_blocks(found, plan, in_turn=in_turn) or plan.max_blocks
        if needed is not None and done >= needed:
            break
    return found


def place(cell: Cell, loads: Sequence[float]) -> Place:
    """The middle load is the run's own."""
    series: Literal["block", "load"] = "block" if cell.load == loads[len(loads) // 2] else "load"
    return Place(series=series, unit=cell.block, position=cell.position, load=cell.load)


def span(start_s: float, end_s: float, energy_j: float) -> Span:
    """What a meter counted."""
    return Span(
        meter="simulated", boundary="gpu", provenance="measured:plugin", tick_s=0.1, start_s=start_s,
        start_j=0.0, end_s=end_s, end_j=energy_j,
    )  # fmt: skip


def _window(
    lab: Lab, cell: Cell, start_s: float, noise: float, dice: np.random.Generator
) -> Window:
    """Requests come from a ramp before it until its end, and are waited for a while longer."""
    model, long_s, rate = lab.model(cell.who), lab.plan.window_s, cell.load or 0.0
    end_s, begins_s = start_s + long_s, start_s - RAMP * long_s
    due = begins_s + np.cumsum(dice.exponential(1 / rate, _enough(rate * (end_s - begins_s))))
    due = due[due < end_s]
    begun, done = _served(lab.service, due, model.answer_s * _work(lab.service, due.size, dice))
    given_up = done > end_s + DRAIN * long_s
    outcomes = [
        Outcome(at, at, None if lost else until, () if lost else (until,), 1, wanted_tokens=1)
        for at, until, lost in zip(due.tolist(), done.tolist(), given_up.tolist(), strict=True)
    ]
    busy_s = float(np.clip(np.minimum(done, end_s) - np.maximum(begun, start_s), 0, None).sum())
    energy_j = (IDLE_W + model.spins_w) * long_s + model.busy_w * busy_s
    told: dict[str, Any] = tally(outcomes, [], start_s, end_s, lab.slo)._asdict()
    return Window(
        phase="serve", who=cell.who, place=place(cell, lab.loads), start_s=start_s, end_s=end_s,
        energy=[span(start_s, end_s, energy_j * exp(noise))], **told,
    )  # fmt: skip


def _enough(expected: float) -> int:
    """Gaps that surely last."""
    return int(expected + 8 * sqrt(expected)) + 20


def _work(service: Service, count: int, dice: np.random.Generator) -> Times:
    """Parts of the mean answer."""
    if service == "ample":
        return np.asarray(np.exp(SPREAD * dice.standard_normal(count) - SPREAD**2 / 2))
    return dice.exponential(1.0, count) if service == "M/M/1" else np.ones(count)


def _served(service: Service, due: Times, work: Times) -> tuple[Times, Times]:
    """When each is begun and done."""
    if service == "ample":
        return due, due + work
    ends = np.cumsum(work)
    done = ends + np.maximum.accumulate(due - (ends - work))
    return done - work, done
