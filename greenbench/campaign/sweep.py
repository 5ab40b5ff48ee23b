"""Jobs to records: each job runs in its own process, and leaves one record whatever happens to it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from greenbench.campaign.compose import Job
from greenbench.campaign.console import Console
from greenbench.campaign.identity import command, former_key, identity, label, run_key
from greenbench.campaign.launch.local import Outcome, Workers
from greenbench.errors import Unsupported, UserError
from greenbench.machine import gpu_settings
from greenbench.machine.detect import Machine, describe
from greenbench.machine.device_lock import device_lock
from greenbench.meters import in_words
from greenbench.records.store import Store
from greenbench.report import rebuild
from greenbench.run.story import run
from greenbench.schema.enums import Device
from greenbench.schema.quantity import Quantity
from greenbench.schema.record import Failure, Findings, Record, Status

PRELOAD = ("torch", "transformers", "lm_eval.models.huggingface", "greenbench.run.story")
DESCRIBE_LIMIT_S = 120.0


class Surroundings(NamedTuple):
    """A device as the worker sees it, and the facts that records keep about it."""

    machine: Machine
    environment: dict[str, Any]


def sweep(jobs: Sequence[Job]) -> list[Record]:
    """Run every job that has no record yet, then write the report; return each job's record.

    Presumes `preflight.refuse`.
    """
    started_s = time.monotonic()
    with _terminable(), Workers(PRELOAD) as workers, Console(len(jobs)) as console:
        _restore_settings(console)  # of sweeps that are gone
        surroundings = {
            device: _describe(workers, device) for device in {job.spec.device for job in jobs}
        }
        done: dict[tuple[Path, str], Record] = {}
        records = []
        for number, job in enumerate(jobs, 1):
            console.begin(number, f"{job.spec.model.name}, {label(job.spec)}")
            record = _once(job, surroundings[job.spec.device], workers, console, done)
            done[_folder(job), record.key] = record
            records.append(record)
        for results in dict.fromkeys(map(_folder, jobs)):
            for path in write_report(results):
                console.note(f"wrote {path}")
        console.note(_closing(list(done.values()), time.monotonic() - started_s))
    return records


def _folder(job: Job) -> Path:
    """Where its record goes."""
    return Path(job.spec.results)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the block as an exception would, so that what must be undone is."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _restore_settings(console: Console) -> None:
    for said in gpu_settings.restore():
        console.note(said)


def write_report(results: Path) -> list[Path]:
    """Rebuild the report in `results` from its records."""
    return rebuild([results], results)


def _describe(workers: Workers, device: Device) -> Surroundings:
    outcome = workers.call(
        describe,
        device,
        time_limit_s=DESCRIBE_LIMIT_S,
        log_path=None,
        on_progress=lambda progress: None,
    )
    if outcome.failure is not None:
        kind = Unsupported if outcome.failure.reason == "unsupported" else UserError
        raise kind(outcome.failure.message)
    return Surroundings(*outcome.value)


def _once(
    job: Job,
    around: Surroundings,
    workers: Workers,
    console: Console,
    done: dict[tuple[Path, str], Record],
) -> Record:
    """The job's record: read where it is already there, else made."""
    store = Store(_folder(job))
    spec = identity(job.spec, around.machine)
    key, former = run_key(spec), former_key(spec)
    store.require_space()
    with store.claim(key, console.note):
        old = _known(store, [key, *filter(None, [former])])
        done_now = done.get((_folder(job), key))
        if done_now or (old is not None and old.status == "completed" and not job.spec.force):
            console.end("already done", ran=False)
            return done_now or old  # type: ignore[return-value]
        with device_lock(around.machine.device, console.note):
            record = _measure(job, key, around, workers, store, console)
        if record.status == "completed" or old is None or old.status != "completed":
            store.write(record, replaces=former)
        else:
            console.note("the earlier record is kept, as this run did not complete")
    console.end(_outcome(record))
    return record


def _known(store: Store, keys: Sequence[str]) -> Record | None:
    """The first record that is completed; else the first."""
    there = [record for key in keys if (record := store.read(key)) is not None]
    return next((r for r in there if r.status == "completed"), next(iter(there), None))


def _measure(
    job: Job, key: str, around: Surroundings, workers: Workers, store: Store, console: Console
) -> Record:
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        outcome = workers.call(
            run,
            job.spec,
            time_limit_s=job.spec.protocol.time_limit_s,
            log_path=store.log_path(key),
            on_progress=lambda progress: console.stage(*progress),
        )
    finally:
        _restore_settings(console)  # of a worker that was killed
    findings = _findings(outcome)
    if (meter := findings["meter"]) is not None:
        console.once(in_words(meter.used, meter.refused))
    failure = outcome.failure or findings["failure"]
    return Record(
        key=key,
        name=label(job.spec),
        status=_status(failure),
        spec=identity(job.spec, around.machine),
        command=command(job.overrides),
        started_at=started_at,
        environment=around.environment,
        **(findings | {"failure": failure}),
    )


def _findings(outcome: Outcome) -> dict[str, Any]:
    """The worker's findings with the time the process itself took added to the stages."""
    findings = outcome.value if isinstance(outcome.value, Findings) else Findings()
    known_s = sum(findings.stages_s.values())
    stages = {
        **findings.stages_s,
        "start": outcome.duration_s - known_s,
        "total": outcome.duration_s,
    }
    return dict(findings) | {
        "stages_s": {name: round(seconds, 3) for name, seconds in stages.items()}
    }


def _status(failure: Failure | None) -> Status:
    if failure is None:
        return "completed"
    return "unsupported" if failure.reason == "unsupported" else "failed"


def _outcome(record: Record) -> str:
    if record.failure is not None:
        return f"{record.status}: {record.failure.message}"
    return f"done in {record.stages_s['total']:.0f} s{_speed(record.ratios['tokens_per_s'])}"


def _speed(ratio: Quantity) -> str:
    if ratio.value is None:
        return f", no speed ratio ({ratio.reason})"
    if ratio.low is None or ratio.high is None:
        return f", speed {ratio.value:.2f}x baseline"
    return f", speed {ratio.value:.2f}x baseline ({ratio.low:.2f}-{ratio.high:.2f})"


def _closing(records: Sequence[Record], wall_s: float) -> str:
    """Counts, and the share of this command's wall time that measured nothing."""
    counts = {
        status: sum(record.status == status for record in records)
        for status in ("completed", "failed", "unsupported")
    }
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{said} in {wall_s:.0f} s"
