"""A sweep's runs as commands, each with what it will take, and nothing run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from greenbench.campaign.command import command
from greenbench.campaign.compose import Job
from greenbench.campaign.forecast import Forecaster, whole
from greenbench.campaign.identity import label
from greenbench.machine.detect import detect_used
from greenbench.run.preflight import refusals


def listing(jobs: Sequence[Job]) -> Iterator[str]:
    """Lines for a shell: each run's command, after a comment on it. Nothing is fetched from a hub.

    Raises UserError where the device is not there.
    """
    machines = {device: detect_used(device) for device in {job.spec.device for job in jobs}}
    known = Forecaster.reading(Path(job.spec.results) for job in jobs)
    asked = [(job.spec, machines[job.spec.device]) for job in jobs]
    refused = refusals(asked, models=False, progress=None)
    forecasts = []
    for number, (job, error) in enumerate(zip(jobs, refused, strict=True), 1):
        found = known.of(job.spec, machines[job.spec.device])
        forecasts += [] if error else [found]
        said = f"not measured here: {error}" if error else str(found)
        yield f"# {number} of {len(jobs)}, {job.spec.model.name}, {label(job.spec)}: {said}"
        where = [] if job.spec.results == "results" else [f"results={job.spec.results}"]
        yield " ".join([command(job, job.spec), *map(shlex.quote, where)])
    yield f"# {whole(forecasts, done=0, refused=len(jobs) - len(forecasts))}"
