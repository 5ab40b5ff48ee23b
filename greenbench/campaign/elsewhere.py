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
from greenbench.campaign.closing import closing, outcome
from greenbench.campaign.command import in_grammar, without
from greenbench.campaign.compose import Job
from greenbench.campaign.console import Console
from greenbench.campaign.devices import Slot
from greenbench.campaign.downloads import fetch
from greenbench.campaign.identity import label
from greenbench.campaign.invocation import LauncherSpec, Where
from greenbench.campaign.launch.box import Box
from greenbench.campaign.launch.launcher import Ended, Launcher, Task
from greenbench.campaign.launch.local import Workers
from greenbench.campaign.running_report import RunningReport
from greenbench.campaign.runs import PRELOAD, describe_here
from greenbench.campaign.sweep import terminable, write_report
from greenbench.errors import UserError
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
    if slots:
        _require_device(jobs)
    fetch([job.spec for job in jobs], say)
    folder.mkdir(parents=True, exist_ok=True)
    said = _within(slots, len(jobs))
    tasks = [_task(number, job, folder, said) for number, job in enumerate(jobs, 1)]
    records: dict[int, list[Record]] = {}
    with (
        terminable(),
        Console(len(jobs)) as console,
        RunningReport(console, write_report) as so_far,
    ):
        console.note(f"{len(tasks)} jobs go to {launcher.name}; their logs are in {folder}")
        again: list[Task] = []
        for ended in _followed(launcher, tasks):
            if ended.fate == "lost":
                again.append(ended.task)
                console.note(
                    f"job {ended.task.number} was lost ({ended.why}): it is sent once more"
                )
                continue
            records[ended.task.number] = _gather(ended, jobs, console, so_far)
        for ended in _followed(launcher, again):
            records[ended.task.number] = _gather(ended, jobs, console, so_far)
        for path in write_report(results):
            console.note(f"wrote {path}")
        found = [record for _, each in sorted(records.items()) for record in each]
        console.note(closing(found, time.monotonic() - started_s))
    _require_all(records, folder)
    return found


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


def _require_device(jobs: Sequence[Job]) -> None:
    """Raise UserError where torch cannot use the GPUs, once and not in every run."""
    with Workers(PRELOAD) as workers:
        describe_here(workers, jobs[0].spec.device)


def _within(slots: Sequence[Slot], runs: int) -> Mapping[str, str]:
    """What each run is told of its share of this machine."""
    if not slots:
        return {}
    device = {"device": "cuda_all"} if len(slots[0]) > 1 else {}
    return device | {"neighbours": str(min(len(slots), runs) - 1)}


def _task(number: int, job: Job, folder: Path, said: Mapping[str, str]) -> Task:
    roots = ("launcher", "results", "devices", "device_groups", *said)
    words = [sys.executable, "-m", "greenbench", "bench", *without(job.overrides, *roots)]
    words += [f"{key}={value}" for key, value in said.items()]
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
    ended: Ended, jobs: Sequence[Job], console: Console, so_far: RunningReport
) -> list[Record]:
    """The records of a job's runs: for one that left none, what it wrote beforehand in case it dies."""
    task, job = ended.task, jobs[ended.task.number - 1]
    store = Store(Path(job.spec.results))
    console.begin(task.number, f"{job.spec.model.name}, {label(job.spec)}")
    found = []
    for begun in _begun(task):
        record = store.read(begun.key, look)
        if record is None or (
            record.status != "completed" and record.started_at < begun.started_at
        ):
            record = begun
            store.write(record)
        found.append(record)
    if found:
        console.end("; ".join(outcome(record) for record in found))
        took_s = max(record.stages_s.get("total", 0.0) for record in found)
        so_far.after(store.root, took_s)
    else:
        console.end(f"no run was begun: {ended.why or _last_line(task.log)}")
    return found


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
