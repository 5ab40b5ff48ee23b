"""A sweep whose runs are each a `greenbench bench` of its own, here or elsewhere: sent, and gathered."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from greenbench.analysis.trust.checked import look
from greenbench.campaign.closing import closing, drawn, outcome
from greenbench.campaign.command import in_grammar, without
from greenbench.campaign.compose import Job
from greenbench.campaign.console import Console
from greenbench.campaign.downloads import fetch
from greenbench.campaign.forecast import Forecaster, each_s, whole
from greenbench.campaign.identity import label
from greenbench.campaign.invocation import LauncherSpec, Where
from greenbench.campaign.launch.box import Box, Slot
from greenbench.campaign.launch.launcher import Ended, Launcher, Task, unseen
from greenbench.campaign.launch.local import Workers
from greenbench.campaign.launch.unbegun import keep, unbegun
from greenbench.campaign.running_report import RunningReport
from greenbench.campaign.runs import PRELOAD, describe_here
from greenbench.campaign.sweep import terminable, write_report
from greenbench.errors import UserError
from greenbench.machine.detect import Machine
from greenbench.records.store import Store
from greenbench.schema.record import Record

JOBS = "jobs"
"""Folder in a results directory: what each launch has sent out, and what came of it."""


def send(
    jobs: Sequence[Job], say: Callable[[str], None], slots: Sequence[Slot] = ()
) -> list[Record]:
    """Have every job run by the launcher that they name, or here, one at a time on each of the `slots`;
    return their records, and leave the report.

    A job that is lost with its machine is sent once more, then recorded as failed. Presumes
    `preflight.refuse`. Raises UserError where they name several launchers or it cannot start.
    """
    started_s = time.monotonic()
    spec = _one_launcher(jobs)
    results = Path(jobs[0].spec.results)
    folder = results.resolve() / JOBS / uuid.uuid4().hex[:12]
    launcher = Box(slots) if slots else _launcher(spec, _gpus(jobs, spec), folder)
    around = _device(jobs) if slots else None
    fetch([job.spec for job in jobs], say)
    folder.mkdir(parents=True, exist_ok=True)
    said = _within(slots, len(jobs))
    tasks = [_task(number, job, folder, said) for number, job in enumerate(jobs, 1)]
    records: dict[int, Sequence[Record]] = {}
    apart: list[int] = []
    with (
        terminable(),
        Console(len(jobs)) as console,
        RunningReport(console, write_report) as so_far,
    ):
        console.note(f"{len(tasks)} jobs go to {launcher.name}; their logs are in {folder}")
        if around is not None:
            outlook, foreseen_s = _outlook(jobs, around, len(slots))
            console.note(outlook)
            console.expect(len(jobs), foreseen_s, len(slots))
        for ended in _ended(launcher, _in_rounds(tasks, jobs), console):
            if ended.fate == "unseen":
                apart.append(ended.task.number)
            records[ended.task.number] = _gather(len(records) + 1, ended, jobs, console, so_far)
        found = [record for _, each in sorted(records.items()) for record in each]
        for path in write_report(results) if found else ():
            console.note(f"wrote {path}")
        console.note(closing(found, time.monotonic() - started_s))
    _require_seen(apart, len(records), results)
    _require_all(records, folder)
    return found


def _in_rounds(tasks: Sequence[Task], jobs: Sequence[Job]) -> list[list[Task]]:
    """By session: those of a run lie apart only if a round begins when the one before is over."""
    rounds: dict[int, list[Task]] = {}
    for task in tasks:
        rounds.setdefault(jobs[task.number - 1].spec.session, []).append(task)
    return [rounds[session] for session in sorted(rounds)]


def _ended(
    launcher: Launcher, rounds: Sequence[Sequence[Task]], console: Console
) -> Iterator[Ended]:
    """Each task for good: what is lost is sent once more, when its round is over."""
    for tasks in rounds:
        again: list[Task] = []
        for ended in _followed(launcher, tasks):
            if ended.fate == "lost":
                again.append(ended.task)
                said = f"job {ended.task.number} was lost ({ended.why}): it is sent once more"
                console.note(said)
            else:
                yield _where(ended)
        yield from map(_where, _followed(launcher, again))


def _where(ended: Ended) -> Ended:
    """The same, of one that ended well for itself: here is what it wrote, or it wrote it elsewhere."""
    task = ended.task
    here = task.log.exists() or _part(task.log.parent, task.number).exists()
    return ended if here or ended.fate != "ended" else unseen(task)


def _require_seen(apart: Sequence[int], jobs: int, results: Path) -> None:
    """Raise UserError where jobs ran and nothing of them came here, by their numbers `apart`."""
    if apart:
        raise UserError(
            f"{len(apart)} of {jobs} jobs ran where {results} is not the folder that it is here "
            f"({', '.join(map(str, sorted(apart)[:9]))}): give results=DIR, a folder that all machines "
            "share, or share the runs out with --shard and put them together with `greenbench merge`."
        )


def _require_all(records: Mapping[int, Sequence[Record]], folder: Path) -> None:
    """Raise UserError where a job has left no record, not even of a failure."""
    bare = [number for number, each in sorted(records.items()) if not each]
    if bare:
        raise UserError(
            f"{len(bare)} of {len(records)} jobs began no run ({', '.join(map(str, bare[:9]))}; their logs "
            f"are in {folder}): mend what they say, and give the same command again."
        )


def _one_launcher(jobs: Sequence[Job]) -> LauncherSpec:
    first, *others = (job.spec for job in jobs)
    if any(spec.launcher != first.launcher or spec.results != first.results for spec in others):
        raise UserError("A sweep has one launcher and one results directory: name one of each.")
    return first.launcher


def _gpus(jobs: Sequence[Job], spec: LauncherSpec) -> int:
    """Of each run."""
    if spec.gpus is not None:
        return spec.gpus
    return int(any(job.spec.device != "cpu" for job in jobs))


def _launcher(spec: LauncherSpec, gpus: int, folder: Path) -> Launcher:
    if spec.where is Where.slurm:
        from greenbench.campaign.launch.slurm import Slurm

        return Slurm(spec, gpus, folder)
    from greenbench.campaign.launch.ray_cluster import Ray

    return Ray(spec, gpus)


def _device(jobs: Sequence[Job]) -> Machine:
    """One of the GPUs. Raises UserError where torch cannot use them, once and not in every run."""
    with Workers(PRELOAD) as workers:
        return describe_here(workers, jobs[0].spec.device).machine


def _outlook(jobs: Sequence[Job], machine: Machine, at_once: int) -> tuple[str, float | None]:
    """What all take together, how many at once, and what one takes; null: nothing like it was measured."""
    known = Forecaster.reading(Path(job.spec.results) for job in jobs)
    forecasts = [known.of(job.spec, machine) for job in jobs]
    together = (
        f", {min(at_once, len(jobs))} at once; what is measured already is not measured again"
    )
    return whole(forecasts, done=0, refused=0) + together, each_s(forecasts)


def _within(slots: Sequence[Slot], runs: int) -> Mapping[str, str]:
    """What each run is told of its share of this machine."""
    if not slots:
        return {}
    device = {"device": "cuda_all"} if len(slots[0]) > 1 else {}
    return device | {"neighbours": str(min(len(slots), runs) - 1)}


def _task(number: int, job: Job, folder: Path, said: Mapping[str, str]) -> Task:
    roots = ("launcher", "results", "devices", "device_groups", "sessions", *said)
    words = [sys.executable, "-m", "greenbench", "bench", *without(job.overrides, *roots)]
    words += [f"{key}={value}" for key, value in {**said, "sessions": "1"}.items()]
    words += [f"results={in_grammar(str(Path(job.spec.results).resolve()))}"]
    if job.config_dir is not None:
        words += ["--config-dir", str(job.config_dir.resolve())]
    words += ["--part", str(_part(folder, number))]
    return Task(number, tuple(words), folder / f"{number}.log")


def _part(folder: Path, number: int) -> Path:
    """Where a job says which runs it is at."""
    return folder / f"{number}.json"


def _followed(launcher: Launcher, tasks: Sequence[Task]) -> Iterator[Ended]:
    if tasks:
        with launcher.running(tasks) as all_of_them:
            yield from all_of_them


def _gather(
    place: int, ended: Ended, jobs: Sequence[Job], console: Console, so_far: RunningReport
) -> list[Record]:
    """The records of a job's runs: for one that left none, what it wrote beforehand in case it dies.

    It is the job at `place` of those that have ended.
    """
    task, job = ended.task, jobs[ended.task.number - 1]
    store = Store(Path(job.spec.results))
    console.begin(place, f"job {task.number}: {job.spec.model.name}, {label(job.spec)}")
    found = []
    for begun in _begun(task):
        record = store.read(begun.key, look)
        if record is None or (_is_earlier(record, begun) and record.status != "completed"):
            record = begun
            keep(store, record)
        elif _is_earlier(record, begun) and job.spec.force:
            record = begun  # it failed; the earlier record stays where it is
        found.append(record)
    if not found and ended.fate == "lost":
        found = _unbegun(job, jobs, ended.why, store, console)
    if found:
        took_s = sum(record.stages_s.get("total", 0.0) for record in found)
        drawn_j, estimated = drawn(found)
        said = "; ".join(outcome(record) for record in found)
        console.end(said, joules=drawn_j, estimated=estimated, took_s=took_s)
        so_far.after(store.root, took_s)
    else:
        console.end(f"no run was begun: {ended.why or _last_line(task.log)}", ran=False)
    return found


def _unbegun(
    job: Job, jobs: Sequence[Job], why: str, store: Store, console: Console
) -> list[Record]:
    """The failures of a job that was lost twice before it began; none where it cannot be told what it was."""
    try:
        return list(unbegun(job, _gpus(jobs, job.spec.launcher), why, store))
    except UserError as error:
        console.note(f"it leaves no record: {error}")
        return []


def _is_earlier(record: Record, begun: Record) -> bool:
    return record.started_at < begun.started_at


def _begun(task: Task) -> list[Record]:
    try:
        written = json.loads(_part(task.log.parent, task.number).read_bytes())
    except (OSError, ValueError):
        return []
    return [Record.model_validate(each) for each in written]


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else f"it printed nothing to {os.path.relpath(log)}"
