"""What both models spend their time in, looked at once all blocks are measured: no joule changes by it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from greenbench.analysis.energy.operators import known, profiled
from greenbench.engines.engine import Request
from greenbench.engines.tracing import Traceable
from greenbench.measure.pair import Pair
from greenbench.measure.schedule import Progress
from greenbench.schema.profile import Profile, Trace
from greenbench.schema.window import WHO, Who
from greenbench.scrub import scrub
from greenbench.wording import plain

TOKENS: Final = 16
"""Of an answer, at most: each operator that is looked at is kept until the answer ends."""
REPETITIONS: Final = 5
LEAST: Final = 3
"""Repetitions, however long they take."""
LONGEST_S: Final = 120.0
"""After which no more than those are begun."""


def profile(
    pair: Pair, batch: Sequence[Request], progress: Progress, *, on_host: bool, in_turn: bool
) -> Profile:
    """Both models' answers to `batch`, by turns, or in turn where only one is on the device.

    `on_host`: they compute on the processor. Whatever fails is the profile's reason, and ends nothing else.
    """
    turns: list[Who] = [who for who in WHO for _ in range(REPETITIONS)]
    try:
        return _profile(pair, batch, progress, turns if in_turn else [*WHO] * REPETITIONS, on_host)
    except Exception as error:
        return Profile(reason=plain(scrub(f"the profile failed: {type(error).__name__}: {error}")))


def _profile(
    pair: Pair, batch: Sequence[Request], progress: Progress, turns: Sequence[Who], on_host: bool
) -> Profile:
    traces: dict[Who, list[Trace]] = {who: [] for who in WHO}
    begun_s, tool = time.monotonic(), ""
    for place, who in enumerate(turns):
        progress("profile", place, len(turns))
        if len(traces[who]) >= LEAST and time.monotonic() - begun_s > LONGEST_S:
            continue
        with pair.use(who) as served:
            if not isinstance(served, Traceable):
                return Profile(reason=f"not profiled: what runs the {who} gives no trace")
            if not traces[who]:
                served.traced(batch)  # the first makes what the others find
            traces[who].append(served.traced(batch))
            tool = served.tool
    progress("profile", 1, 1)
    both = known([trace for who in WHO for trace in traces[who]], on_host=on_host)
    return Profile(
        tool=tool,
        tokens=batch[0].new_tokens,
        baseline=profiled(traces["baseline"], both),
        candidate=profiled(traces["candidate"], both),
    )
