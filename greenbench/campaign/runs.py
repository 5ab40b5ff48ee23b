"""Jobs as runs: told apart by what the device makes of them, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from greenbench.campaign.command import command
from greenbench.campaign.compose import Job
from greenbench.campaign.identity import exact, identity, label, settled
from greenbench.campaign.invocation import BenchSpec
from greenbench.campaign.launch.local import Outcome, Workers
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine, describe
from greenbench.run.preflight import refusals
from greenbench.schema.record import Findings
from greenbench.schema.resolved import ResolvedSpec
from greenbench.schema.spec import RunSpec

PRELOAD = (
    "torch",
    "torch._dynamo",  # which transformers asks for as it loads a model
    "transformers",
    "lm_eval.models.huggingface",
    "greenbench.run.story",
)
"""What all workers import, but what looks at the device as it is imported, as torchao does."""
DESCRIBE_LIMIT_S = 120.0


class Surroundings(NamedTuple):
    """A device as the worker sees it, and the facts that records keep about it."""

    machine: Machine
    environment: dict[str, Any]


class Run(NamedTuple):
    """A job, and all that its record says of it before it is measured."""

    spec: BenchSpec
    """The job's, with a commit for each branch: what is measured."""
    label: str
    command: str
    around: Surroundings

    def identity(self) -> ResolvedSpec:
        """Which run it is, by what it reads as that is now."""
        return identity(self.spec, *self.around)

    @property
    def folder(self) -> Path:
        """Where its record goes."""
        return Path(self.spec.results)


def surroundings(jobs: Sequence[Job], workers: Workers) -> dict[str, Surroundings]:
    """Each device that they name, as a worker sees it. Raises UserError where one is not there."""
    return {device: describe_here(workers, device) for device in {job.spec.device for job in jobs}}


def runs_of(jobs: Sequence[Job], around: Mapping[str, Surroundings]) -> list[Run]:
    """One run for each job, or one against each reference. Raises UserError for what cannot be had."""
    return [run for job in jobs for run in _settled(job, around[job.spec.device])]


def _settled(job: Job, around: Surroundings) -> list[Run]:
    specs = settled(exact(job.spec), around.machine)
    return [Run(spec, label(job.spec), command(job, spec), around) for spec in specs]


def describe_here(workers: Workers, device: str) -> Surroundings:
    """The device, as a worker sees it. Raises UserError where it is not there."""
    outcome = _asked(workers, describe, device)
    if outcome.failure is not None:
        kind = Unsupported if outcome.failure.reason == "unsupported" else UserError
        raise kind(outcome.failure.message)
    return Surroundings(*outcome.value)


def refused_here(
    workers: Workers, runs: Sequence[tuple[RunSpec, Machine]]
) -> Sequence[UserError | None]:
    """What is said against each, before it waits for the device; what cannot be asked tells it as it runs."""
    return _asked(workers, partial(refusals, models=True), runs).value or [None] * len(runs)


def found(spec: BenchSpec, log_path: Path, *, progress: Any) -> Findings:
    """What a run finds: a worker's call, and so are the seconds of its imports."""
    from greenbench.run import story

    return story.run(spec, log_path, progress=progress)


def _asked(workers: Workers, question: Callable[..., Any], about: Any) -> Outcome:
    """A worker's answer to what takes a moment and needs no log."""
    return workers.call(
        question,
        about,
        time_limit_s=DESCRIBE_LIMIT_S,
        log_path=None,
        on_progress=lambda progress: None,
    )
