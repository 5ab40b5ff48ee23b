"""Tasks as jobs of a Slurm cluster, by submitit: one array, one job a task."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbench.campaign.invocation import LauncherSpec
from greenbench.campaign.launch.launcher import Call, Ended, Task, ended, unseen
from greenbench.errors import Unsupported, UserError

if TYPE_CHECKING:
    from submitit import SlurmJob

POLL_S = 2.0
GRACE_POLLS = 3
"""Looks at the queue in which a job may be missing from it before it counts as gone: its answer comes over a
file system that other machines see later."""
LIVES = {
    "PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING",
    "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "PREEMPTED",
}  # fmt: skip
"""States of a job that may still give an answer (squeue(1), job state codes)."""

RAN = {"COMPLETED", "FAILED"}
"""States of a job that has ended by itself: where it prints to, there is a file then."""


class Slurm:
    """What ``launcher=slurm`` asks for."""

    name = "slurm"

    def __init__(self, spec: LauncherSpec, gpus: int, folder: Path) -> None:
        """`folder` is for submitit's own files, and every node sees it. Raises Unsupported."""
        try:
            from submitit import SlurmExecutor
        except ImportError as error:
            raise Unsupported(
                "launcher=slurm needs the package submitit: pip install 'greenbench[slurm]'"
            ) from error
        try:
            self._executor = SlurmExecutor(folder=folder)
        except RuntimeError as error:
            raise Unsupported(
                "launcher=slurm needs Slurm's commands, which are not here: start it on a login node."
            ) from error
        try:
            self._executor.update_parameters(**_parameters(spec, gpus))
        except ValueError as error:
            raise UserError(f"launcher.options cannot be given to Slurm: {error}") from error

    @contextmanager
    def running(self, tasks: Sequence[Task]) -> Iterator[Iterator[Ended]]:
        """One array of them. Raises UserError where sbatch refuses it."""
        jobs = self._submitted(tasks)
        left = dict(zip(tasks, jobs, strict=True))
        try:
            yield _ended(left)
        finally:
            if left:
                _slurm("scancel", *(job.job_id for job in left.values()))

    def _submitted(self, tasks: Sequence[Task]) -> list[SlurmJob[int]]:
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        calls = [Call(task.words, str(task.log)) for task in tasks]
        try:
            with self._executor.batch():
                jobs = [self._executor.submit(call) for call in calls]
        except (FailedJobError, FailedSubmissionError) as error:
            told = " ".join(str(error).split())
            raise UserError(f"Slurm does not take the jobs: {told}") from error
        return jobs  # type: ignore[return-value]  # of its base class


def _parameters(spec: LauncherSpec, gpus: int) -> dict[str, Any]:
    """submitit's names for them; nothing where Slurm's own default is to hold."""
    asked = {
        "job_name": "greenbench",
        "time": spec.minutes,
        "gres": f"gpu:{gpus}" if gpus else None,
        "cpus_per_task": spec.cpus,
        "mem": None if spec.memory_gb is None else f"{round(1024 * spec.memory_gb)}MB",
        "partition": spec.partition,
        "exclusive": spec.exclusive or None,
        "array_parallelism": spec.at_once,
        "setup": spec.setup or None,
        "additional_parameters": spec.options or None,
        "stderr_to_stdout": True,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _ended(left: dict[Task, SlurmJob[int]]) -> Iterator[Ended]:
    """Each as it ends, and it is left no more."""
    missed, last = dict.fromkeys(left, 0), dict.fromkeys(left, "PENDING")
    while left:
        states = _states({job.job_id.partition("_")[0] for job in left.values()})
        for task, job in list(left.items()):
            found = _answer(task, job)
            if found and found.fate == "lost" and _is_cancelled((states or {}).get(job.job_id)):
                found = _cancelled(task)
            if found is None and states is not None:
                state = states.get(job.job_id)
                last[task] = state or last[task]
                missed[task] = 0 if state in LIVES else missed[task] + 1
                if missed[task] >= GRACE_POLLS:
                    found = _gone(task, job, last[task])
            if found is not None:
                del left[task]
                yield found
        if left:
            time.sleep(POLL_S)


def _answer(task: Task, job: SlurmJob[int]) -> Ended | None:
    """What the job's own answer says; null where there is none yet."""
    if not job.paths.result_pickle.exists():
        return None
    try:
        status = job.result()
    except Exception as error:  # whatever submitit or its unpickling says of it
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Ended(task, "lost", lines[-1])
    return ended(task, status)


def _gone(task: Task, job: SlurmJob[int], last: str) -> Ended:
    """A job that gave no answer, by its `last` state: Slurm forgets at once what leaves its queue so."""
    if last == "PENDING" or _is_cancelled(last):
        return _cancelled(task)
    if last in RAN and not job.paths.stdout.exists():
        return unseen(task)
    return Ended(task, "lost", f"Slurm says {last}")


def _cancelled(task: Task) -> Ended:
    return Ended(task, "cancelled", "it was taken out of Slurm's queue")


def _is_cancelled(state: str | None) -> bool:
    return state is not None and state.startswith("CANCELLED")


def _states(arrays: set[str]) -> dict[str, str] | None:
    """The state of each job by its id, those that ended a short while ago as well; null: no answer."""
    asked = ("--noheader", "--array", "--states=all", "--format=%i|%T")
    told = _slurm("squeue", *asked, f"--jobs={','.join(sorted(arrays))}")
    if told is None:
        return None
    lines = (line.strip().partition("|") for line in told.splitlines())
    return {name: state for name, _, state in lines if state}


def _slurm(*command: str) -> str | None:
    """What one of its commands prints; null where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id" in done.stderr:  # none of them is known any more
        return ""
    return None if done.returncode else done.stdout
