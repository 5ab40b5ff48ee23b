"""Jobs to records: each job runs in its own process, and leaves one record whatever happens to it."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from greenbench.analysis.trust.checked import look
from greenbench.campaign.closing import closing, drawn, outcome
from greenbench.campaign.compose import Job
from greenbench.campaign.console import Console
from greenbench.campaign.devices import alone, beside
from greenbench.campaign.downloads import fetch
from greenbench.campaign.forecast import Forecaster, each_s, whole
from greenbench.campaign.identity import run_key
from greenbench.campaign.launch.local import Outcome, Workers
from greenbench.campaign.launch.unbegun import keep
from greenbench.campaign.running_report import RunningReport
from greenbench.campaign.runs import PRELOAD, Run, found, refused_here, runs_of, surroundings
from greenbench.engines.engine import Engine
from greenbench.engines.serving import journal
from greenbench.errors import Unsupported, UserError
from greenbench.files import write_atomically
from greenbench.machine import gpu_settings
from greenbench.machine.device_lock import device_lock
from greenbench.meters import in_words
from greenbench.records.store import Store
from greenbench.report import rebuild
from greenbench.schema.knobs import changed
from greenbench.schema.record import EngineFacts, Failure, Findings, Reason, Record, Status
from greenbench.schema.resolved import ResolvedSpec
from greenbench.scrub import scrub


class _Call(NamedTuple):
    """One call of `sweep`."""

    began_at: str
    """UTC, ISO 8601."""
    locked: Sequence[str]
    """UUIDs of GPUs that are locked for it already."""


def sweep(
    jobs: Sequence[Job],
    say: Callable[[str], None],
    part: Path | None = None,
    locked: Sequence[str] = (),
) -> list[Record]:
    """Run every job that has no record yet, writing the report as they come; return each job's record.

    `say` hears what is downloaded. Of a sweep that is elsewhere, the runs are told in the file `part` before
    the first begins, as they end should the machine die, and the report is left to it. `locked`: UUIDs of
    GPUs that the caller has locked. Presumes `preflight.refuse`.
    """
    started_s, call = time.monotonic(), _Call(_now(), locked)
    with ExitStack() as held:
        held.enter_context(terminable())
        workers = held.enter_context(Workers(PRELOAD))
        around = surroundings(jobs, workers)
        fetch([job.spec for job in jobs], say)  # not for a device that cannot be used
        console = held.enter_context(Console(len(jobs)))
        so_far = held.enter_context(RunningReport(console, write_report))
        _restore_settings(console)  # of sweeps that are gone
        runs = runs_of(jobs, around)
        refused = refused_here(workers, [(run.spec, run.around.machine) for run in runs])
        if len(jobs) == 1 and part is None:
            for error in filter(None, refused):
                raise Unsupported(str(error)) from error
        keys = [run_key(run.identity()) for run in runs]
        said, foreseen_s = _outlook(runs, keys, refused)
        console.expect(len(runs), foreseen_s)
        if len(runs) > 1:
            console.note(said)
        if part is not None:
            _tell(part, runs)
        done: dict[tuple[Path, str], Record] = {}
        records: dict[int, Record] = {}
        while left := [index for index in range(len(runs)) if index not in records]:
            with _claim(left, runs, keys, console) as index:
                run, begun_s = runs[index], time.monotonic()
                console.begin(len(records) + 1, f"{run.spec.model.name}, {run.label}")
                record = _once(run, keys[index], refused[index], workers, console, done, call)
            records[index] = done[run.folder, record.key] = record
            if len(records) < len(runs) and part is None:
                so_far.after(run.folder, time.monotonic() - begun_s)
        for results in dict.fromkeys(run.folder for run in runs if part is None):
            for path in write_report(results):
                console.note(f"wrote {path}")
        console.note(closing(list(done.values()), time.monotonic() - started_s))
    return [records[index] for index in sorted(records)]


@contextmanager
def _claim(
    left: Sequence[int], runs: Sequence[Run], keys: Sequence[str], console: Console
) -> Iterator[int]:
    """Hold the first run that no other sweep is at, as on another GPU; where there is none, wait for one."""
    for index in left:
        with Store(runs[index].folder).claim_if_free(keys[index]) as mine:
            if mine:
                yield index
                return
    with Store(runs[left[0]].folder).claim(keys[left[0]], console.note):
        yield left[0]


def _tell(part: Path, runs: Sequence[Run]) -> None:
    """Leave what each run's record is to be if this process and its machine end before the run does."""
    said = "It began, and ended without a result: its job, or the machine, was stopped."
    failure = Failure(reason="killed", message=said, phase=None, log_tail=[])
    begun = [
        _recorded(run, run.identity(), _now(), Findings(failure=failure)).model_dump(mode="json")
        for run in runs
    ]
    write_atomically(part, json.dumps(begun).encode())


def _outlook(
    runs: Sequence[Run], keys: Sequence[str], refused: Sequence[UserError | None]
) -> tuple[str, float | None]:
    """How much is left to measure and how long that will take, and what a run will; null: no run tells."""
    able = [
        (run, key) for run, key, error in zip(runs, keys, refused, strict=True) if error is None
    ]
    left = [run for run, key in able if not _is_done(run, key)]
    known = Forecaster.reading(run.folder for run in runs)
    forecasts = [known.of(run.spec, run.around.machine) for run in left]
    told = whole(forecasts, done=len(able) - len(left), refused=len(runs) - len(able))
    return told, each_s(forecasts)


def _is_done(run: Run, key: str) -> bool:
    old = Store(run.folder).read(key, look)
    return old is not None and old.status == "completed" and not run.spec.force


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the block as an exception would, so that what must be undone is: at the end, servers
    whose worker was killed."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        journal.end_leftovers()
        signal.signal(signal.SIGTERM, before)


def _restore_settings(console: Console) -> None:
    for said in gpu_settings.restore():
        console.note(said)


def write_report(results: Path) -> list[Path]:
    """Rebuild the report in `results` from its records."""
    return rebuild([results], results)


def _once(
    run: Run,
    claimed: str,
    refused: UserError | None,
    workers: Workers,
    console: Console,
    done: dict[tuple[Path, str], Record],
    call: _Call,
) -> Record:
    """The run's record: read where it is already there, else made; at once where it is `refused`.

    What another sweep has tried since this one began, as on another GPU, is not tried again.
    """
    store, known = Store(run.folder), run.identity()
    key = run_key(known)
    store.require_space()
    with nullcontext() if key == claimed else store.claim(key, console.note):
        old = store.read(key, look)
        known_now = done.get((run.folder, key)) or (
            old if old and old.started_at > call.began_at else None
        )
        if known_now or (old is not None and old.status == "completed" and not run.spec.force):
            console.end("already done", ran=False)
            return known_now or old  # type: ignore[return-value]
        if refused:
            record = _recorded(run, known, _now(), Findings(failure=_failure(refused)))
        else:
            parts = {*run.around.machine.parts, *alone(run.spec)} - {*call.locked}
            with device_lock(list(parts), console.note):
                record = _measure(run, known, workers, store, console)
        if record.status == "completed" or old is None or old.status != "completed":
            if old is None and (kept := store.set_aside(key)):
                console.note(
                    f"what was there for it is no record to be trusted, and kept as {kept}"
                )
            keep(store, record)
        else:
            console.note("the earlier record is kept, as this run did not complete")
    drawn_j, estimated = drawn([record])
    console.end(outcome(record), joules=drawn_j, estimated=estimated)
    return record


def _measure(
    run: Run, known: ResolvedSpec, workers: Workers, store: Store, console: Console
) -> Record:
    key, started_at = run_key(known), _now()
    try:
        outcome = workers.call(
            found,
            run.spec,
            store.log_path(key),
            time_limit_s=run.spec.protocol.time_limit_s,
            log_path=store.log_path(key),
            on_progress=lambda progress: console.stage(*progress),
        )
    finally:
        _restore_settings(console)  # of a worker that was killed
    findings = _findings(outcome)
    if (meter := findings.meter) is not None:
        console.once(in_words(meter.used, meter.refused))
    kept = isinstance(outcome.value, Findings)  # before it failed, if it did: all had been measured
    failure = (None if kept else outcome.failure) or findings.failure or _changed(run, known)
    return _recorded(run, known, started_at, findings.model_copy(update={"failure": failure}))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _recorded(run: Run, known: ResolvedSpec, started_at: str, findings: Findings) -> Record:
    return Record(
        key=run_key(known),
        name=run.label,
        status=_status(findings.failure),
        spec=known,
        command=run.command,
        started_at=started_at,
        environment=run.around.environment | beside(run.spec),
        **dict(findings) | {"engine": findings.engine or _asked_for(run.spec.engine)},
    )


def _asked_for(engine: Engine) -> EngineFacts:
    """All that is known of the engine of a run which did not come so far as to say more."""
    return EngineFacts(name=engine.name, version=engine.version(), changed=changed(engine))


def _changed(run: Run, before: ResolvedSpec) -> Failure | None:
    """Whose files or packages are others by now has measured no one knows what."""
    try:
        after = run.identity()
    except UserError as error:
        why = str(error)
    else:
        if after == before:
            return None
        parts = {
            name for name, value in after.inputs or () if value != dict(before.inputs or ())[name]
        }
        why = (
            f"What the run reads ({', '.join(sorted(parts)) or 'by its technique'}) was changed while it "
            "was measured: leave it alone, and run again."
        )
    return _failure(UserError(why))


def _failure(error: UserError) -> Failure:
    reason: Reason = "unsupported" if isinstance(error, Unsupported) else "user_error"
    return Failure(reason=reason, message=scrub(str(error)), phase=None, log_tail=[])


def _findings(outcome: Outcome) -> Findings:
    """The worker's findings with the time the process itself took added to the stages."""
    findings = outcome.value if isinstance(outcome.value, Findings) else Findings()
    if outcome.failure and findings.profile:
        profile = findings.profile.ended(outcome.failure.message)
        findings = findings.model_copy(update={"profile": profile})
    known_s = sum(findings.stages_s.values())
    stages = {
        **findings.stages_s,
        "start": outcome.duration_s - known_s,
        "total": outcome.duration_s,
    }
    rounded = {name: round(seconds, 3) for name, seconds in stages.items()}
    return findings.model_copy(update={"stages_s": rounded})


def _status(failure: Failure | None) -> Status:
    if failure is None:
        return "completed"
    return "unsupported" if failure.reason == "unsupported" else "failed"
