"""When requests come and what they ask, the same for baseline and candidate."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, count, repeat
from math import isfinite
from typing import NamedTuple

from greenbench.engines.engine import Request
from greenbench.errors import EngineFault
from greenbench.measure import lengths
from greenbench.measure.lengths import Length
from greenbench.measure.request_traces import RequestTrace
from greenbench.measure.requests import Prompts
from greenbench.schema.enums import Arrivals, Lengths
from greenbench.schema.load_spec import LoadSpec
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.window import Who

HEAD = -4
"""The place of what all prompts of a run begin with: no cell has it."""
RATES = 7
LOWEST, HIGHEST = 1 / 8, 2.0
"""Of a sweep, in parts of what the slower model answers at most and the faster one: from boxes that both
mostly idle to two that are asked for so much more than they can do that short windows show it."""


class Due(NamedTuple):
    """A request and when it must be sent."""

    at_s: float
    """Seconds from the start of the load."""
    request: Request


@dataclass(frozen=True)
class Demand:
    """What is asked of both models under the loads of a run.

    A *cell* is a number for one load in one block: both models meet the same in it, and other cells another.
    """

    load: LoadSpec
    workload: WorkloadSpec
    prompts: Prompts
    seed: int
    trace: RequestTrace | None = None
    """Where `load` names one."""
    max_tokens: int | None = None
    """Longest sequence that both models take; null: no limit."""

    def arrivals(self, rate: float | None, cell: int, *, other: bool = False) -> Iterator[Due]:
        """Requests at `rate` per second without end; null: the trace's own.

        With `other` they are due at the same times and of the same lengths, and of other text: for a
        candidate that answers where prompts of the baseline may be kept.
        """
        at = times(self.load, rate, self._dice("times", cell), self.trace)
        for at_s, request in zip(at, self.requests(cell, other=other), strict=False):
            yield Due(at_s, request)

    def requests(self, cell: int, *, other: bool = False) -> Iterator[Request]:
        """The same requests without times: for users who ask again once answered."""
        frame = self.prompts.frame
        whole = self.load.lengths is Lengths.texts and not other
        texts = self.prompts.whole(2 * cell)
        running = self.prompts.running(2 * cell + other)
        head = self.prompts.running(HEAD + other).take(self._most.prompt if self.load.shared else 0)
        for wanted in self._lengths(cell):
            length = lengths.clipped(wanted, self._most, frame.tokens, self.max_tokens)
            room = length.prompt - frame.tokens
            alike = head[: round(self.load.shared * room)]
            text = next(texts)[:room] if whole else [*alike, *running.take(room - len(alike))]
            yield Request(
                frame.around(text), length.answer, self.workload.stop, cut=length != wanted
            )

    def _lengths(self, cell: int) -> Iterator[Length]:
        """Of each request in turn, as its user would have it."""
        middle = lengths.middle(self.workload, self.load, self.trace)
        if self.load.lengths is Lengths.lognormal:
            return lengths.lognormal(middle, self.load.spread, self._dice("lengths", cell))
        if self.load.lengths is Lengths.texts:
            texts = self.prompts.whole(2 * cell)
            return lengths.of_texts(texts, self.prompts.frame.tokens, middle.answer)
        if self.load.lengths is Lengths.trace and self.trace is not None:
            rows = self.trace.endless(self._dice("times", cell))  # as `arrivals` does
            return (Length(row.prompt_tokens, row.output_tokens) for row in rows)
        return repeat(middle)

    @cached_property
    def _most(self) -> Length:
        return lengths.longest(self.workload, self.load, self.trace)

    def _dice(self, what: str, cell: int) -> random.Random:
        return random.Random(f"{self.seed} {what} {cell}")


def times(
    load: LoadSpec, rate: float | None, dice: random.Random, trace: RequestTrace | None = None
) -> Iterator[float]:
    """Seconds at which requests come, without end, of open arrivals at `rate` per second.

    As if they had come for ever: the first gap is the rest of one that holds the moment 0 (D. R. Cox,
    Renewal Theory, 1962, 5.2), so that every window expects the same count.
    """
    if trace is not None:
        return (row.at_s for row in (trace.at(rate) if rate else trace).endless(dice))
    assert rate is not None
    if load.arrivals is Arrivals.constant:
        return accumulate(repeat(1 / rate), initial=dice.random() / rate)
    shape = 1 / (load.cv or 1) ** 2
    mean_s = 1 / (shape * rate)
    gaps = (dice.gammavariate(shape, mean_s) for _ in count())
    # A gap that holds a given moment is longer than others: one more in the shape, for gamma.
    return accumulate(gaps, initial=dice.random() * dice.gammavariate(shape + 1, mean_s))


def steps(capacities: Mapping[Who, float]) -> tuple[float, ...]:
    """Rates of a sweep, ascending, of two digits: from where both models mostly idle to where neither can.

    `capacities` are the requests per second that each answers at most. Raises EngineFault of none.
    """
    able = [most for most in capacities.values() if isfinite(most) and most > 0]
    if not able:
        raise EngineFault(
            "Neither model answered in the search for the largest rate, so load.rate=sweep has no rates: "
            "give load.rate numbers of your own."
        )
    first, last = LOWEST * min(able), HIGHEST * max(able)
    ratio = (last / first) ** (1 / (RATES - 1))
    return tuple(_two_digits(first * ratio**step) for step in range(RATES))


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")
