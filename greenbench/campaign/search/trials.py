"""Which rows of a published table can be tested on this machine, and the runs that would test them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from greenbench import engines
from greenbench.analysis.reproduction.alike import other_device
from greenbench.analysis.reproduction.tables import Published, Table
from greenbench.campaign.compose import Job, plan
from greenbench.campaign.downloads import unreachable
from greenbench.campaign.launch.local import Workers
from greenbench.campaign.runs import describe_here, refused_here
from greenbench.errors import UserError
from greenbench.plugins import answerable
from greenbench.schema.record import Record

Words = tuple[str, ...]
"""Overrides that ask for one run."""
ANSWERS: Final = "energy_per_answer"
PRELOAD: Final = ("torch",)
INSTEAD: Final = {"model", "engine"}
"""Groups of which the user may say another, to be run though it compares nothing."""
NOT_RUN: Final = "engine ({} there, which GreenBench does not run)"


class Trial(NamedTuple):
    """One row, and what testing it here takes."""

    row: Published
    runs: list[Words]
    """One, or of two models that are set against each other both."""
    lacks: list[str]
    """What of the row's own conditions this machine has not."""
    refused: list[str]
    """Why its runs cannot be measured here."""
    instead: bool
    """Whether the user has said which model or engine to run in the row's place."""

    @property
    def runnable(self) -> bool:
        """What cannot be compared is run only where the user says what to take for it."""
        return not self.refused and (self.instead or not self.lacks)


def overrides(row: Published, given: Sequence[str] = ()) -> list[Words]:
    """What asks for the runs of `row`, with all that the user has `given` in its place."""
    models = [row.model] if row.against is None else [row.model, row.against]
    found = [tuple(_kept(_words(row, model), given)) + tuple(given) for model in models]
    return list(dict.fromkeys(found))


def _words(row: Published, model: str) -> Iterator[str]:
    yield from (
        "model=hub",
        f"model.id={model}",
        f"model.dtype={row.dtype}",
        f"engine={row.engine}",
    )
    if row.device.partition(" ")[0].isdecimal():
        yield "device=cuda_all"
    if row.arrivals == "concurrent":
        yield "load.arrivals=concurrent"
        yield from (f"load.{key}={row.batch}" for key in ("concurrency", "at_once") if row.batch)
    elif row.batch:
        yield f"workload.batch_size={row.batch}"
    for key, count in (("prompt_tokens", row.prompt_tokens), ("output_tokens", row.output_tokens)):
        if count:
            yield f"workload.{key}={count}"
    if row.metric == ANSWERS:
        yield "task=answers"
    if row.technique:
        yield f"technique={row.technique}"
        knobs = {**row.needs, **row.knobs}
        yield from (f"technique.{row.technique}.{key}={_said(of)}" for key, of in knobs.items())


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _kept(words: Iterable[str], given: Sequence[str]) -> Iterator[str]:
    """The table's words, less those for which others are `given`; with a group go its keys.

    Raises UserError where the user names a technique: which one it is the table says.
    """
    keys = _keys(given)
    if "technique" in keys:
        raise UserError(
            "The table says which technique: leave technique= out, or use greenbench bench."
        )
    for word in words:
        key = word.partition("=")[0]
        if key not in keys and key.partition(".")[0] not in keys & INSTEAD:
            yield word


def _keys(given: Iterable[str]) -> set[str]:
    return {word.lstrip("+~").partition("=")[0] for word in given}


def trials(table: Table, given: Sequence[str] = (), config_dir: Path | None = None) -> list[Trial]:
    """Each row of the table, as this machine is: nothing is fetched or run."""
    runs = [overrides(row, given) for row in table.rows]
    instead = any(key.partition(".")[0] in INSTEAD for key in _keys(given))
    device = next((w.partition("=")[2] for w in given if w.startswith("device=")), "auto")
    with answerable(), Workers(PRELOAD) as workers:
        machine = describe_here(workers, device).machine
        found = [
            _trial(row, words, machine.device_name, instead=instead)
            for row, words in zip(table.rows, runs, strict=True)
        ]
        asked = list(dict.fromkeys(w for each in found if each.runnable for w in each.runs))
        jobs = [_job(words, config_dir) for words in asked]
        said = refused_here(workers, [(job.spec, machine) for job in jobs]) if jobs else []
        why = {
            words: [*([str(error)] if error else []), *unreachable([job.spec])]
            for words, job, error in zip(asked, jobs, said, strict=True)
        }
        return [each._replace(refused=[*each.refused, *_against(each.runs, why)]) for each in found]


def _job(words: Words, config_dir: Path | None) -> Job:
    (job,) = plan(words, multirun=False, config_dir=config_dir)
    return job


def _against(runs: Sequence[Words], why: Mapping[Words, Sequence[str]]) -> list[str]:
    """What is said against any of a row's runs, each reason once."""
    return list(dict.fromkeys(reason for words in runs for reason in why.get(words, ())))


def _trial(row: Published, runs: list[Words], device_name: str, *, instead: bool) -> Trial:
    """Before anything is composed, which takes a second for each run."""
    differs = other_device(row, device_name)
    strange = [] if row.engine in engines.named() else [NOT_RUN.format(row.engine)]
    lacks = [*([str(differs)] if differs else []), *strange, *([row.apart] if row.apart else [])]
    asked = any(f"engine={row.engine}" in words for words in runs)
    return Trial(row, runs, lacks, strange if asked else [], instead)


def measured(trials: Iterable[Trial], ask: Callable[[Words], Sequence[Record]]) -> list[Record]:
    """The records of all runs that can be measured here, each run once."""
    words = dict.fromkeys(w for each in trials if each.runnable for w in each.runs)
    return [record for each in words for record in ask(each)]
