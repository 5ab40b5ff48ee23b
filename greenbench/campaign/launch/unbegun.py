"""Jobs that were lost, sent again and lost again before they began: failures on a device that nobody saw."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from greenbench.analysis.trust.checked import load
from greenbench.campaign.compose import Job
from greenbench.campaign.identity import run_key
from greenbench.campaign.runs import Run, Surroundings, runs_of
from greenbench.machine.detect import Machine
from greenbench.records.store import Store
from greenbench.schema.record import Failure, Record
from greenbench.schema.resolved import ResolvedDevice, ResolvedSpec

NOWHERE: Final = "unknown device"
"""In place of a device's name."""


def unbegun(job: Job, gpus: int, why: str, store: Store) -> Sequence[Record]:
    """The failure of each run of such a job, written to `store`; what is measured there already stays, and
    is its answer unless it was to be measured anew.

    Raises UserError where what a run is made of cannot be read here.
    """
    machine = Machine("cuda" if gpus else "cpu", NOWHERE, memory_bytes=0)
    around = {job.spec.device: Surroundings(machine, {})}
    failed = {
        record.key: record for record in (_failed(run, why) for run in runs_of([job], around))
    }
    done = [record for record in load([store.root]).records if record.status == "completed"]
    measured = {key: record for record in done if (key := _key(record.spec)) in failed}
    for key in failed.keys() - measured.keys():
        store.write(failed[key])
    return list((failed if job.spec.force else failed | measured).values())


def keep(store: Store, record: Record) -> None:
    """Write `record`: what told that a job for it never began is over."""
    store.write(record)
    if (earlier := _key(record.spec)) != record.key:
        store.record_path(earlier).unlink(missing_ok=True)


def _failed(run: Run, why: str) -> Record:
    spec = _placeless(run.identity())
    said = f"Its job never began, and was sent twice: {why}."
    return Record(
        key=run_key(spec),
        name=run.label,
        status="failed",
        spec=spec,
        command=run.command,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        environment={},
        failure=Failure(reason="killed", message=said, phase=None, log_tail=[]),
    )


def _key(spec: ResolvedSpec) -> str:
    return run_key(_placeless(spec))


def _placeless(spec: ResolvedSpec) -> ResolvedSpec:
    """`spec` without what only the machine could tell that its run would have had."""
    inputs = spec.inputs and spec.inputs.model_copy(update={"machine": {}})
    device = ResolvedDevice(kind=spec.device.kind, name=NOWHERE)
    return spec.model_copy(update={"device": device, "inputs": inputs})
