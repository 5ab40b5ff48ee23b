"""Why a run did not save what was promised: both models profiled while they are still loaded."""

from __future__ import annotations

from collections.abc import Callable

from greenbench.analysis.energy.shortfalls import word
from greenbench.measure.pair import InTurn, Pair
from greenbench.measure.profiling import profile
from greenbench.measure.requests import Requests
from greenbench.run.workbench import Bench, Stages
from greenbench.schema.enums import Profiling
from greenbench.schema.profile import ENDED, Profile
from greenbench.schema.record import Findings

AT_THE_WALL = (
    "joules at the wall are joined when the run has ended, and a profile that fails must lose none"
)
UNDER_LOAD = (
    "requests overlap under load, or wait for each other, and a profile of one batch does not show "
    "what their time goes to"
)


def explained(
    bench: Bench,
    pair: Pair,
    requests: Requests,
    told: Callable[[Profile | None], Findings],
    stages: Stages,
) -> Profile | None:
    """The profile that `protocol.profile` asks for; null: none, or the promise was kept.

    `told` concludes from what was measured until now. That is kept before and after, so that nothing of it is
    lost however the profile, or the run, ends.
    """
    wanted = bench.spec.protocol.profile
    if wanted is Profiling.never:
        return None
    known = told(Profile(reason=ENDED))
    if wanted is Profiling.when_not_kept and word(known) is not None:
        return None
    if bench.spec.meter.wall_log:
        return Profile(reason=AT_THE_WALL)
    if not bench.spec.load.is_closed:
        return Profile(reason=UNDER_LOAD)
    stages.keep(known)
    with stages("profile"):
        found = profile(
            pair,
            requests.batch(0),
            stages.progress,
            on_host=bench.machine.device == "cpu",
            in_turn=isinstance(pair, InTurn),
        )
    stages.keep(known.model_copy(update={"profile": found}))
    return found
