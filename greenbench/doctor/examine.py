"""What this machine can measure and run, why not the rest, and what would disturb a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import metadata
from itertools import zip_longest
from textwrap import wrap
from typing import Any

from greenbench.campaign.catalog import faults, options
from greenbench.doctor import neighbours
from greenbench.doctor.runnable import OK, compressor, engine, model, task, technique, verdict
from greenbench.errors import Unsupported, UserError
from greenbench.machine import gpu_settings, surroundings
from greenbench.machine.detect import Machine, detect, environment
from greenbench.machine.gpus import gpus as every_gpu
from greenbench.machine.gpus import opened
from greenbench.machine.processes import OwnProcesses
from greenbench.machine.unused_gpu import unused
from greenbench.meters import open_meters
from greenbench.meters.nvml_telemetry import Watch
from greenbench.meters.telemetry import Telemetry
from greenbench.plugins import ROOMS, answerable, named
from greenbench.records import calibrations
from greenbench.run import checkpoint
from greenbench.schema.calibration import Calibration
from greenbench.schema.quantity import Quantity
from greenbench.schema.spec import MeterSpec

WIDTH, NAME = 96, 16
SUBJECTS = {
    "meters": "what can be measured",
    "hardware": "what models can run on",
    "kernels": "compiled kernels",
    "techniques": "techniques",
    "engines": "engines",
    "programs": "programs that techniques need",
    "plug-ins": "plug-ins",
    "models": "models",
    "tasks": "task sets",
    "cache": "the cache",
    "load": "who else is busy",
    "power": "power settings",
    "calibration": "calibration",
}
NOT_SHOWN = "not shown by this machine, as by most virtual ones"


def examine(watch_s: float = surroundings.WATCH_S) -> dict[str, Any]:
    """Findings by subject, each ``ok``, ``ok: ...`` or the reason and remedy; numbers in ``facts``.

    Takes `watch_s` seconds to see who else is busy.
    """
    machine, too_old = _machine()
    around = environment(machine)
    facts: dict[str, Any] = {
        "load": surroundings.load(watch_s),
        "power": surroundings.power(),
        "memory": surroundings.memory(),
        "gpus": surroundings.gpus(),
        "kernels": surroundings.kernels(),
    }
    calibrated = calibrations.read(machine.device_name)
    return {
        "machine": around,
        "meters": _meters(machine),
        "hardware": _hardware(machine, around["cuda"], facts)
        | ({"cuda": too_old} if too_old else {}),
        "kernels": {name: _kernels(targets) for name, targets in facts["kernels"].items()},
        "techniques": {name: verdict(technique, name, machine) for name in options("technique")},
        "engines": {name: verdict(engine, name, machine) for name in options("engine")},
        "programs": {"llm-compressor": verdict(compressor)},
        "plug-ins": _plug_ins(),
        "models": {name: model(name) for name in options("model")},
        "tasks": {name: verdict(task, name) for name in options("task")},
        "cache": _cache(),
        "load": _load(facts["load"], facts["gpus"], _company()),
        "power": _power(facts["power"]) | _left_set(),
        "calibration": _calibration(calibrated) | neighbours.known(),
        "facts": facts
        | {"calibration": calibrated.model_dump(mode="json") if calibrated else None},
    }


def _machine() -> tuple[Machine, str | None]:
    """The device that a run would take, or the CPU and why its GPU cannot be."""
    try:
        return detect("auto"), None
    except Unsupported as error:
        return detect("cpu"), str(error)


def as_text(findings: dict[str, Any]) -> str:
    """The findings for a person, at most `WIDTH` columns wide."""
    facts = findings["machine"]
    packages = facts["packages"]
    lines = [
        f"GreenBench {facts['greenbench']}, Python {facts['python']}, "
        f"torch {packages.get('torch')}, transformers {packages.get('transformers')}",
        f"device: {facts['device']['device']} ({facts['device']['device_name']})",
        f"cpu: {facts['cpu']['name']}, {_cores(facts['cpu'])}, "
        f"{facts['cpu']['virtualization'] or 'no virtualization seen'}",
    ]
    for subject, title in SUBJECTS.items():
        lines += ["", f"{title}:"]
        for name, said in findings[subject].items():
            lines += _entry(name, said)
    return "\n".join(lines)


def _cores(cpu: dict[str, Any]) -> str:
    usable, there = cpu["cores_usable"], cpu["cores_logical"]
    return f"{there} cores" if usable == there else f"{usable:g} of {there} cores usable"


def _entry(name: str, said: str) -> list[str]:
    """One finding: a mark, its name, and what is said about it beside the name."""
    mark = "+" if said.startswith(OK) else "-"
    words = said.removeprefix(f"{OK}: ")
    return wrap(
        words,
        WIDTH,
        initial_indent=f"  {mark} {name:{NAME}} ",
        subsequent_indent=" " * (NAME + 5),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _meters(machine: Machine) -> dict[str, str]:
    """Every meter's answer: the energy a run here would be measured with comes first."""
    said = _answers(MeterSpec(), machine)
    for name, known in named("greenbench.meters").items():
        if name not in said:
            said |= {name: known.fault} if known.fault else _answers(MeterSpec([name]), machine)
    return said | {"wall": f"{OK}: needs meter=wall meter.wall_log=FILE.csv"}


def _answers(spec: MeterSpec, machine: Machine) -> dict[str, str]:
    try:
        with answerable(), open_meters(spec, machine.uuids) as opened:
            used = {
                m.name: f"{OK}: {m.provenance}, {m.boundary}, tick {m.tick_s:g} s"
                for m in opened.meters
            }
            return used | opened.refused
    except UserError as error:
        return dict.fromkeys(spec.order, str(error))


def _hardware(machine: Machine, build: str | None, facts: dict[str, Any]) -> dict[str, str]:
    host = facts["memory"]
    said = {
        "cpu": f"{OK}: {_gib(host['available_bytes'])} of {_gib(host['total_bytes'])} memory free",
        "cuda": _cuda(machine, build),
    }
    for index, gpu in enumerate(facts["gpus"]):
        free = gpu["memory_free_bytes"]
        memory = f"{_gib(free)} memory free" if free is not None else "free memory not reported"
        said[f"gpu {index}"] = f"{OK}: {gpu['name']}, {memory}"
    return said


def _cuda(machine: Machine, build: str | None) -> str:
    """`build` is the CUDA version that torch was built for; null: none."""
    if machine.capability is not None:
        capability = ".".join(map(str, machine.capability))
        return f"{OK}: {build or 'ROCm'}, compute capability {capability}"
    if why := unused(metadata.version("torch"), build):
        return why
    if build is None:
        return "this torch is a build without CUDA: install its CUDA build for an NVIDIA GPU."
    return "torch sees no CUDA device: check the driver with nvidia-smi, and CUDA_VISIBLE_DEVICES."


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _cache() -> dict[str, str]:
    """What lies in it, and what of it is bounded."""
    kept, most = checkpoint.kept_bytes(), checkpoint.KEPT_BYTES
    return {
        "checkpoints": f"{OK}: {_gib(kept)} of at most {_gib(most)} in {checkpoint.folder()}, what was "
        "used last; it may be removed",
    }


def _kernels(targets: list[str] | None) -> str:
    if targets is None:
        return "not installed"
    return f"{OK}: for {', '.join(targets)}" if targets else "installed without compiled kernels"


def _load(
    load: dict[str, Any], gpus: list[dict[str, Any]], company: Sequence[Telemetry]
) -> dict[str, str]:
    said = {
        "cpu": _cpu_load(load),
        "load average": f"{OK}: {load['load_average_1min']} over a minute, {load['cores']} cores",
    }
    for index, (gpu, seen) in enumerate(zip_longest(gpus, company[: len(gpus)])):
        pids = gpu["compute_pids"]
        if pids is None:
            said[f"gpu {index}"] = "the driver does not say which processes compute on it"
        elif pids:
            said[f"gpu {index}"] = _shared(pids, seen)
        else:
            said[f"gpu {index}"] = f"{OK}: no compute process"
    return said


def _shared(pids: list[int], seen: Telemetry | None) -> str:
    """What processes on a GPU do to a run there: a window would get the codes that `seen` has."""
    who = f"used by process {', '.join(map(str, pids))}"
    if seen and seen.strangers:  # all of them, where the driver does not tell who computes
        who += f", of which {seen.strangers} count as computing"
        return f"{who}: stop it, or runs are invalid (foreign_process)"
    held = ", which only held memory just now" if seen and seen.neighbours else ""
    return (
        f"{who}{held}: stop it, or runs are flagged (idle_neighbour), and invalid where it computes "
        "(foreign_process)"
    )


def _company() -> list[Telemetry]:
    """Each GPU as a run's meter would see it now; empty where NVML does not tell."""
    try:
        with opened(()):
            return [Watch([gpu], OwnProcesses()).look(time.monotonic()) for gpu in every_gpu()]
    except Unsupported:
        return []


def _cpu_load(load: dict[str, Any]) -> str:
    used = f"others use {load['other_cores_used']} of {load['cores']} cores"
    if load["stolen_cores"]:
        used += f", the hypervisor withholds {load['stolen_cores']}"
    if load["processes"]:
        names = (f"{p['name']} ({p['pid']}) {p['cores']}" for p in load["processes"])
        used += f": {', '.join(names)}"
    if "other_load" in load["codes"]:
        return f"{used}; stop them, as runs on the CPU would be flagged (other_load)"
    return f"{OK}: {used}"


def _power(power: dict[str, str | None]) -> dict[str, str]:
    governor, turbo, supply = power["governor"], power["turbo"], power["supply"]
    said = dict.fromkeys(("governor", "turbo"), NOT_SHOWN)
    said["supply"] = f"{OK}: no battery"
    if governor:
        hint = "clocks follow the load; `sudo cpupower frequency-set -g performance` holds them"
        said["governor"] = (
            f"{OK}: {governor}" if governor == "performance" else f"{governor}: {hint}"
        )
    if turbo:
        said["turbo"] = f"{OK}: {turbo}" + (", so clocks fall with heat" if turbo == "on" else "")
    if supply:
        plugged = "discharging" not in supply
        said["supply"] = f"{OK}: {supply}" if plugged else f"{supply}: plug the machine in"
    return said


def _left_set() -> dict[str, str]:
    """What killed runs have left changed on GPUs, and that it is given back."""
    return {f"gpu setting {n}": said for n, said in enumerate(gpu_settings.restore(), 1)}


def _calibration(kept: Calibration | None) -> dict[str, str]:
    if kept is None:
        return {"none": "not done for this device: run `greenbench doctor --calibrate`."}
    said = {"id": f"{OK}: {kept.id}, made {kept.date}"}
    for cost in kept.meters:
        micros = 1e6 * (cost.read.value or 0.0)
        said[cost.meter] = f"{OK}: tick {cost.tick_s:g} s, a reading takes {micros:.1f} µs"
    noise = kept.noise
    return said | {
        "sampler": _share(kept.sampler, "of a core"),
        "noise, speed": _share(noise.tokens_per_s, f"over {noise.blocks} blocks", "±"),
        "noise, energy": _share(noise.energy_per_token, f"over {noise.blocks} blocks", "±"),
    }


def _share(quantity: Quantity, of: str, sign: str = "") -> str:
    if quantity.value is None:
        return str(quantity.reason)
    return f"{OK}: {sign}{100 * quantity.value:.2g} % {of}"


def _plug_ins() -> dict[str, str]:
    """What each brings; what is broken, or has the name of something else, says so."""
    known = [each for room in ROOMS for each in named(room).values() if each.plugin]
    brought = {
        str(plugin): f"{OK}: brings {', '.join(e.name for e in known if e.plugin == plugin)}"
        for plugin in dict.fromkeys(each.plugin for each in known if not each.fault)
    }
    broken = {f"broken {number}": fault for number, fault in enumerate(faults(), 1)}
    return brought | broken or {"none": f"{OK}: none is installed"}
