"""What both models spend their time in, looked at once all blocks are measured: no joule changes by it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from greenbench.analysis.energy.operators import known, profiled
from greenbench.engines.engine import Request, Served
from greenbench.engines.tracing import Traceable, Untraceable
from greenbench.errors import Lost, Unavailable
from greenbench.measure.pair import Pair
from greenbench.measure.schedule import Progress
from greenbench.schema.enums import Stop
from greenbench.schema.profile import Operation, Profile, Trace
from greenbench.schema.window import WHO, Who
from greenbench.scrub import scrub
from greenbench.wording import plain

TOKENS: Final = 16
"""Of an answer, at most: each operator that is looked at is kept until the answer ends. What a longer one
takes is on the line through its first token and so many."""
REPETITIONS: Final = 5
LEAST: Final = 3
"""Repetitions, however long they take."""
LONGEST_S: Final = 120.0
"""After which no more than those are begun."""


def profile(
    pair: Pair, batch: Sequence[Request], progress: Progress, *, on_host: bool, in_turn: bool
) -> Profile:
    """Both models' answers to `batch`, by turns, or in turn where only one is on the device.

    `on_host`: they compute on the processor. Whatever fails is the profile's reason, and ends nothing else,
    but for a device that is lost.
    """
    turns: list[Who] = [who for who in WHO for _ in range(REPETITIONS)]
    try:
        return _profile(pair, batch, progress, turns if in_turn else [*WHO] * REPETITIONS, on_host)
    except Lost:
        raise
    except Unavailable as why:
        return Profile(reason=plain(scrub(f"not profiled: {why}")))
    except Exception as error:
        return Profile(reason=plain(scrub(f"the profile failed: {type(error).__name__}: {error}")))


def _profile(
    pair: Pair, batch: Sequence[Request], progress: Progress, turns: Sequence[Who], on_host: bool
) -> Profile:
    asked = _Asked.of(batch)
    traces: dict[Who, list[Trace]] = {who: [] for who in WHO}
    begun_s, tool = time.monotonic(), ""
    for place, who in enumerate(turns):
        progress("profile", place, len(turns))
        if len(traces[who]) >= LEAST and time.monotonic() - begun_s > LONGEST_S:
            continue
        with pair.use(who) as served:
            if not isinstance(served, Traceable):
                return Profile(reason=f"not profiled: {_why_not(served, who)}")
            if not traces[who]:
                served.traced(asked.longest)  # the first makes what the others find
            traces[who].append(asked.traced(served))
            tool = served.tool
    progress("profile", 1, 1)
    both = known([trace for who in WHO for trace in traces[who]], on_host=on_host)
    return Profile(
        tool=tool,
        tokens=asked.longest[0].new_tokens,
        baseline=profiled(traces["baseline"], both),
        candidate=profiled(traces["candidate"], both),
    )


def _why_not(served: Served, who: Who) -> str:
    """That `served` gives no trace."""
    if isinstance(served, Untraceable):
        return served.untraced
    return f"what runs the {who} gives no trace"


class _Asked(NamedTuple):
    """What is asked for in place of a request batch, as its answers are too long to be looked at."""

    first: Sequence[Request]
    """The same prompts, for one token."""
    longest: Sequence[Request]
    """For as many as are looked at."""
    times: float
    """That what the tokens after the first take is in the whole batch; 1: it is short enough itself."""

    @classmethod
    def of(cls, batch: Sequence[Request]) -> _Asked:
        """In place of `batch`; both models answer it as far as it may go, wherever they would stop."""
        whole = max(each.new_tokens for each in batch)
        tokens = min(TOKENS, whole)
        first, longest = (
            [each._replace(new_tokens=many, stop=Stop.fixed) for each in batch]
            for many in (1, tokens)
        )
        return cls(first, longest, (whole - 1) / (tokens - 1) if tokens > 1 else 1.0)

    def traced(self, served: Traceable) -> Trace:
        """Of the whole batch."""
        if self.times == 1:
            return served.traced(self.longest)
        return _along(served.traced(self.first), served.traced(self.longest), self.times)


def _along(first: Trace, longest: Trace, times: float) -> Trace:
    """On the line through both, `times` as far from the first as the second is; nothing is below 0."""

    def on_line(before: float, after: float) -> float:
        return max(0.0, before + times * (after - before))

    before = {each[:3]: each for each in first.operations}
    after = {each[:3]: each for each in longest.operations}
    operations = []
    for key in before | after:
        none = Operation(*key, calls=0, seconds=0.0)
        one, other = before.get(key, none), after.get(key, none)
        calls = round(on_line(one.calls, other.calls))
        operations.append(Operation(*key, calls, on_line(one.seconds, other.seconds)))
    return Trace(
        on_line(first.wall_s, longest.wall_s),
        tuple(operations),
        on_line(first.between_s, longest.between_s),
        on_line(first.launching_s, longest.launching_s),
        on_line(first.asleep_s, longest.asleep_s),
        on_line(first.untold_s, longest.untold_s),
    )
