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
from greenbench.machine.detect import Machine
from greenbench.plugins import answerable
from greenbench.schema.ranges import AUTO
from greenbench.schema.record import Record

Words = tuple[str, ...]
"""Overrides that ask for one run."""
ANSWERS: Final = "energy_per_answer"
ALL_GPUS: Final = "cuda_all"
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
        yield f"device={ALL_GPUS}"
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
    if value is None:
        return "null"
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
    """Each row of the table, as this machine is: nothing is fetched or run.

    Raises UserError for a `device` that is not here, and where with what the user has `given` no run is one.
    """
    runs = [overrides(row, given) for row in table.rows]
    instead = any(key.partition(".")[0] in INSTEAD for key in _keys(given))
    with answerable(), Workers(PRELOAD) as workers:
        machines = _machines(workers, runs, given)
        found = [
            _trial(row, words, machines[_device(words[0])], instead=instead)
            for row, words in zip(table.rows, runs, strict=True)
        ]
        asked = dict.fromkeys(w for each in found if each.runnable for w in each.runs)
        why = _refused(
            workers, {words: _job(words, config_dir) for words in asked}, machines, given
        )
        return [each._replace(refused=[*each.refused, *_against(each.runs, why)]) for each in found]


def _device(words: Words) -> str:
    """That a run asks for."""
    return next((word.partition("=")[2] for word in words if word.startswith("device=")), AUTO)


def _machines(
    workers: Workers, runs: Iterable[Sequence[Words]], given: Sequence[str]
) -> dict[str, Machine | UserError]:
    """By each device that the runs ask for; an error where one is not here that the table asks for."""
    found = dict[str, Machine | UserError]()
    for device in dict.fromkeys(_device(words) for each in runs for words in each):
        try:
            found[device] = describe_here(workers, device).machine
        except UserError as error:
            if device != ALL_GPUS or f"device={device}" in given:
                raise
            found[device] = error
    return found


def _job(words: Words, config_dir: Path | None) -> Job | UserError:
    """An error of a run that is none, as of a model that no hub can have."""
    try:
        (job,) = plan(words, multirun=False, config_dir=config_dir)
    except UserError as error:
        return error
    return job


def _refused(
    workers: Workers,
    jobs: Mapping[Words, Job | UserError],
    machines: Mapping[str, Machine | UserError],
    given: Sequence[str],
) -> dict[Words, list[str]]:
    """What is said against each run."""
    why = {words: [str(job)] for words, job in jobs.items() if isinstance(job, UserError)}
    if given and why and len(why) == len(jobs):
        raise next(job for job in jobs.values() if isinstance(job, UserError))
    able = [
        (words, job.spec, machine) for words, job in jobs.items()
        if not isinstance(job, UserError)
        and not isinstance(machine := machines[_device(words)], UserError)
    ]  # fmt: skip
    said = refused_here(workers, [(spec, machine) for _, spec, machine in able]) if able else []
    for (words, spec, _), error in zip(able, said, strict=True):
        why[words] = [*([str(error)] if error else []), *unreachable([spec])]
    return why


def _against(runs: Sequence[Words], why: Mapping[Words, Sequence[str]]) -> list[str]:
    """What is said against any of a row's runs, each reason once."""
    return list(dict.fromkeys(reason for words in runs for reason in why.get(words, ())))


def _trial(
    row: Published, runs: list[Words], machine: Machine | UserError, *, instead: bool
) -> Trial:
    """Before anything is composed, which takes a second for each run."""
    absent = [str(machine)] if isinstance(machine, UserError) else []
    differs = None if isinstance(machine, UserError) else other_device(row, machine.device_name)
    strange = [] if row.engine in engines.named() else [NOT_RUN.format(row.engine)]
    lacks = [*([str(differs)] if differs else []), *strange, *([row.apart] if row.apart else [])]
    asked = any(f"engine={row.engine}" in words for words in runs)
    return Trial(row, runs, lacks, [*absent, *(strange if asked else [])], instead)


def measured(trials: Iterable[Trial], ask: Callable[[Words], Sequence[Record]]) -> list[Record]:
    """The records of all runs that can be measured here, each run once."""
    words = dict.fromkeys(w for each in trials if each.runnable for w in each.runs)
    return [record for each in words for record in ask(each)]
