"""From overrides to records: compose, refuse what cannot be, run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greenbench.campaign.catalog import faults, refuse_rivals
from greenbench.campaign.compose import Job, plan
from greenbench.campaign.invocation import Where
from greenbench.errors import UserError
from greenbench.files import require_cache
from greenbench.machine.processes import end_with_parent
from greenbench.plugins import answerable

if TYPE_CHECKING:
    from greenbench.campaign.listing import Foreseen
    from greenbench.schema.record import Record


class Asked(NamedTuple):
    """What a call of ``bench`` asks for."""

    overrides: Sequence[str]
    multirun: bool = False
    config_dir: Path | None = None
    shard: str = "1/1"
    """Which part of the runs, of how many."""
    part: Path | None = None
    """Where a job of a launcher's says which runs it is at."""
    held: Sequence[str] = ()
    """UUIDs of GPUs whose locks the caller has."""


def bench(asked: Asked) -> list[Record]:
    """Run all that is `asked` for, write the report, and return a record for each run.

    Raises UserError, one sentence, for a mistake; nothing has started then.
    """
    if asked.part is not None:
        end_with_parent()
    jobs = _jobs(asked)
    from greenbench.records.store import Store  # each costs time that a mistake need not

    for results in dict.fromkeys(job.spec.results for job in jobs):
        Store(Path(results)).require_space()
    if asked.part is None and any(job.spec.launcher.where is not Where.local for job in jobs):
        from greenbench.campaign.dispatch import send

        return send(jobs, _say)
    if asked.part is None:
        from greenbench.campaign.devices import shares

        slots, why = shares(jobs)
        if why:
            _say(f"greenbench: {why}")
        if slots:
            from greenbench.campaign.dispatch import send

            return send(jobs, _say, slots)
    from greenbench.campaign.sweep import sweep

    return sweep(jobs, _say, asked.part, asked.held)


def fetch(asked: Asked) -> None:
    """Bring all files here that the runs need: of models, drafts, kernels and tasks. Raises UserError."""
    jobs = _jobs(asked)  # reads the tasks, whose data a hub gives
    _fetch(jobs)
    from greenbench.models import files

    places = (
        f"{model.name} is in {files.directory(model)}" for model in (job.spec.model for job in jobs)
    )
    for said in dict.fromkeys(places):  # converted, where a data wheel has it
        _say(said)


def foreseen(asked: Asked) -> list[Foreseen]:
    """Its runs, and what each will take. Raises UserError."""
    jobs, unseen = _jobs_as_they_are_here(asked)
    from greenbench.campaign.listing import foreseen

    return foreseen(jobs, unseen)


def listed(asked: Asked) -> Iterator[str]:
    """Its runs as commands, with what they will take. Raises UserError."""
    from greenbench.campaign.listing import listing

    return listing(*_jobs_as_they_are_here(asked))


def _jobs_as_they_are_here(asked: Asked) -> tuple[list[Job], set[str]]:
    """The runs, and their tasks that were not looked at, as their data is not here. Raises UserError."""
    from greenbench.quality.tasks import fetching_nothing

    with fetching_nothing() as unseen:
        return _jobs(asked), unseen


def _jobs(asked: Asked) -> list[Job]:
    """The runs, none of which is refused out of hand. Raises UserError."""
    for fault in faults():
        _say(f"greenbench: not used: {fault}")
    with answerable():
        jobs = plan(asked.overrides, multirun=asked.multirun, config_dir=asked.config_dir)
        if asked.multirun and len(jobs) == 1:
            _say(
                "greenbench: --multirun, and no key has several values (KEY=A,B): this is one run."
            )
        jobs = _part(jobs, asked.shard)
        require_cache()
        from greenbench.campaign.downloads import announce  # as above
        from greenbench.run.preflight import refuse

        announce([job.spec for job in jobs], _say)  # reading a task fetches its data
        for job in jobs:
            refuse_rivals(job.overrides)
            refuse(job.spec)
    return jobs


def _part(jobs: Sequence[Job], shard: str) -> list[Job]:
    """Every n-th run, so that each part has some of each model. Raises UserError."""
    number, _, of = str(shard).partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise UserError(f"--shard {shard} is no part: say 1/4 for the first of four.")
    part = jobs[int(number) - 1 :: int(of)]
    if not part:
        raise UserError(f"--shard {shard} holds none of the {len(jobs)} runs: ask for fewer parts.")
    return list(part)


def _fetch(jobs: Sequence[Job]) -> None:
    from greenbench.campaign.downloads import fetch

    fetch([job.spec for job in jobs], _say)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
