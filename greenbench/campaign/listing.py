"""A sweep's runs as commands, each with what it will take, and nothing run."""

from __future__ import annotations

import multiprocessing
import shlex
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from greenbench.campaign.command import command
from greenbench.campaign.compose import Job
from greenbench.campaign.downloads import foretold
from greenbench.campaign.forecast import Forecast, Forecaster, at_least, whole
from greenbench.campaign.identity import label
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine, detect_used
from greenbench.run.preflight import refusals


class Foreseen(NamedTuple):
    """A job, and what its run will take, or why it cannot be measured here."""

    job: Job
    forecast: Forecast | None
    refused: UserError | None
    unseen: list[str]
    """Its tasks whose data is not here."""

    @property
    def label(self) -> str:
        """Its techniques."""
        return label(self.job.spec)


def foreseen(jobs: Sequence[Job], unseen: Collection[str] = ()) -> list[Foreseen]:
    """Each job's run. Nothing is fetched from a hub, so that tasks may be `unseen`.

    Raises UserError where the device is not there.
    """
    machines = _machines(sorted({job.spec.device for job in jobs}))
    known = Forecaster.reading(Path(job.spec.results) for job in jobs)
    asked = [(job.spec, machines[job.spec.device]) for job in jobs]
    refused = refusals(asked, models=False, progress=None)
    return [
        Foreseen(
            job,
            None if error else known.of(*each),
            error,
            [name for name in job.spec.task.names if name in unseen],
        )
        for job, each, error in zip(jobs, asked, refused, strict=True)
    ]


def _machines(devices: Sequence[str]) -> dict[str, Machine]:
    """Each of several in a process of its own: CUDA is initialized once, for the GPUs that are seen then."""
    if len(devices) == 1:
        return {device: detect_used(device) for device in devices}
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, fresh, max_tasks_per_child=1) as each:
        return dict(zip(devices, each.map(detect_used, devices), strict=True))


def in_all(found: Sequence[Foreseen]) -> str:
    """One sentence about all of them, and one more where tasks were not looked at."""
    forecasts = [each.forecast for each in found if each.forecast]
    said = whole(forecasts, done=0, refused=len(found) - len(forecasts))
    names = ", ".join(dict.fromkeys(name for each in found for name in each.unseen))
    if not names:
        return said
    return (
        f"{said}. The data of {names} is not here and is fetched only for a run: whether it can be asked was "
        "not looked at."
    )


def listing(jobs: Sequence[Job], unseen: Collection[str] = ()) -> Iterator[str]:
    """Lines for a shell: each run's command, after a comment on it.

    Where a device is not here, as on a login node, they are listed all the same, and nothing is refused.
    """
    absent = None
    try:
        found = foreseen(jobs, unseen)
    except Unsupported as error:
        absent = error
        found = [Foreseen(job, at_least(job.spec), None, []) for job in jobs]
    for number, each in enumerate(found, 1):
        spec, said = each.job.spec, each.forecast or f"not measured here: {each.refused}"
        yield f"# {number} of {len(found)}, {spec.model.name}, {each.label}: {said}"
        where = [] if spec.results == "results" else [f"results={spec.results}"]
        yield " ".join([command(each.job, spec), *map(shlex.quote, where)])
    yield f"# {in_all(found)}"
    for said in foretold([job.spec for job in jobs]):
        yield f"# {said}"
    if absent:
        yield f"# What can be measured was not looked at: {absent}"
