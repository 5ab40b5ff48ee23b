"""From overrides to files for the user to deploy: what a run of them would measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from greenbench.campaign.catalog import refuse_rivals
from greenbench.campaign.compose import Job, plan
from greenbench.campaign.console import Console
from greenbench.campaign.identity import exact, label
from greenbench.campaign.launch.local import Workers
from greenbench.campaign.runs import PRELOAD, describe_here, refused_here
from greenbench.campaign.sweep import terminable
from greenbench.errors import EngineFault, Unsupported, UserError
from greenbench.files import require_cache
from greenbench.machine.device_lock import device_lock
from greenbench.models import files
from greenbench.plugins import answerable
from greenbench.run import make as recipe
from greenbench.run.make import Made
from greenbench.schema.record import Failure


def make(overrides: Sequence[str], output: Path, *, config_dir: Path | None = None) -> Made:
    """Leave in `output` the files that the run of `overrides` would be measured from.

    Raises UserError, one sentence, for a mistake, with nothing left; EngineFault where the preparation
    failed.
    """
    with answerable():
        (job,) = plan(overrides, multirun=False, config_dir=config_dir, may_sweep=False)
        refuse_rivals(job.overrides)
        require_cache()
        files.check(job.spec.model)
        recipe.refuse(job.spec, output)
    return _made(job, output.resolve())


def _made(job: Job, output: Path) -> Made:
    """In a process of its own, as a run is, with the device to itself: its joules may be a budget."""
    with terminable(), Workers(PRELOAD) as workers, Console(1) as console:
        machine = describe_here(workers, job.spec.device).machine
        for error in filter(None, refused_here(workers, [(job.spec, machine)])):
            raise error
        spec = exact(job.spec)
        console.begin(1, f"{spec.model.name}, {label(spec)}")
        with device_lock(machine.parts, console.note):
            outcome = workers.call(
                recipe.make,
                spec,
                output,
                time_limit_s=spec.protocol.time_limit_s,
                log_path=None,
                on_progress=lambda progress: console.stage(*progress),
            )
        if outcome.failure is not None:
            raise _error(outcome.failure)
        console.end(f"made in {outcome.duration_s:.0f} s")
    found: Made = outcome.value
    return found


def _error(failure: Failure) -> Exception:
    kinds = {"unsupported": Unsupported, "user_error": UserError}
    return kinds.get(failure.reason, EngineFault)(failure.message)
