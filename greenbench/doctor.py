"""What this machine can measure and run, and why not the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenbench.config import options, plan
from greenbench.errors import UserError
from greenbench.machine import Machine, detect, environment
from greenbench.meters import open_meters
from greenbench.models import check
from greenbench.quality.tasks import check_tasks
from greenbench.specs import Device, MeterSpec, ModelSpec, Source

OK = "ok"


def examine() -> dict[str, Any]:
    """Findings by subject: machine, meters, techniques, models, task sets; each ``ok`` or the reason."""
    machine = detect(Device.auto)
    return {
        "machine": environment(machine),
        "meters": _meters(machine),
        "techniques": {name: _verdict(_technique, name, machine) for name in options("technique")},
        "models": {name: _model(name) for name in options("model")},
        "tasks": {name: _verdict(_task, name) for name in options("task")},
    }


def as_text(findings: dict[str, Any]) -> str:
    """The findings for a person."""
    facts = findings["machine"]
    device = facts["device"]
    packages = facts["packages"]
    lines = [
        f"GreenBench {facts['greenbench']}, Python {facts['python']}, "
        f"torch {packages.get('torch')}, transformers {packages.get('transformers')}",
        f"device: {device['device']} ({device['device_name']}, "
        f"{device['memory_bytes'] / 2**30:.0f} GiB)",
        f"cpu: {facts['cpu']['name']}, {facts['cpu']['cores_logical']} cores, "
        f"{facts['cpu']['virtualization'] or 'no virtualization seen'}",
    ]
    for subject in ("meters", "techniques", "models", "tasks"):
        lines += ["", f"{subject}:"]
        lines += [
            f"  {'+' if said.startswith(OK) else '-'} {name:16} {said}"
            for name, said in findings[subject].items()
        ]
    return "\n".join(lines)


def _meters(machine: Machine) -> dict[str, str]:
    """Every meter's answer: the energy a run here would be measured with comes first."""
    with open_meters(MeterSpec(), machine.uuids) as found:
        used = {
            m.name: f"{OK}: {m.provenance}, {m.boundary}, tick {m.tick_s:g} s" for m in found.meters
        }
    return used | found.refused


def _technique(name: str, machine: Machine) -> None:
    (job,) = plan([f"technique={name}"], multirun=False)
    for technique in job.spec.technique.values():
        technique.check(machine)


def _task(name: str) -> None:
    (job,) = plan([f"task={name}"], multirun=False)
    check_tasks(job.spec.task)


def _model(name: str) -> str:
    """Whether the model's files are here; the hub is not asked."""
    if name in ("hub", "local"):
        return f"{OK}: needs model.{'id' if name == 'hub' else 'path'}=..."
    (job,) = plan([f"model={name}"], multirun=False)
    spec = job.spec.model
    return _verdict(check, spec) if spec.source is Source.wheel else _cached(spec)


def _cached(spec: ModelSpec) -> str:
    from huggingface_hub import try_to_load_from_cache

    here = try_to_load_from_cache(str(spec.id), "config.json", revision=spec.revision)
    if isinstance(here, str | Path):
        return f"{OK}: in the local hub cache"
    return f"not in the local hub cache: the first run fetches {spec.id}"


def _verdict(refuse: Callable[..., object], *args: Any) -> str:
    try:
        refuse(*args)
    except UserError as error:
        return str(error)
    return OK
