"""Why a run did not save what was promised: both models profiled while they are still loaded."""

from __future__ import annotations

from collections.abc import Callable

from greenbench.analysis.energy.shortfalls import word
from greenbench.measure.pair import InTurn, Pair
from greenbench.measure.profiling import TOKENS, profile
from greenbench.measure.requests import Requests
from greenbench.measure.schedule import Keeper
from greenbench.run.workbench import Bench, Stages
from greenbench.schema.enums import Profiling
from greenbench.schema.profile import Profile
from greenbench.schema.record import Findings

ENDED = "the process ended while both models were profiled"
AT_THE_WALL = (
    "joules at the wall are joined when the run has ended, and a profile that fails must lose none"
)


def explained(
    bench: Bench,
    pair: Pair,
    requests: Requests,
    told: Callable[[Profile | None], Findings],
    stages: Stages,
) -> Profile | None:
    """The profile that `protocol.profile` asks for; null: none, or the promise was kept.

    `told` concludes from what was measured until now. That is kept first, so that nothing of it is lost
    however the profile ends.
    """
    wanted = bench.spec.protocol.profile
    if wanted is Profiling.never:
        return None
    known = told(Profile(reason=ENDED))
    if wanted is Profiling.when_not_kept and word(known) is not None:
        return None
    if bench.spec.meter.wall_log:
        return Profile(reason=AT_THE_WALL)
    if isinstance(stages.progress, Keeper):
        stages.progress.keep(known.model_copy(update={"stages_s": dict(stages.seconds)}))
    tokens = min(TOKENS, bench.spec.workload.output_tokens)
    with stages("profile"):
        return profile(
            pair,
            requests.batch(0, tokens),
            stages.progress,
            on_host=bench.machine.device == "cpu",
            in_turn=isinstance(pair, InTurn),
        )
