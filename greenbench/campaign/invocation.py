"""How one call of `bench` treats its runs: where their records go, and where they run."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from greenbench.errors import UserError
from greenbench.schema.ranges import AUTO, require
from greenbench.schema.spec import MOST_SESSIONS, RunSpec


class Where(Enum):
    """What runs a sweep's runs."""

    local = "local"
    """This machine, one after the other."""
    slurm = "slurm"
    """Jobs of a Slurm cluster, one a run."""
    ray = "ray"
    """Tasks of a Ray cluster, one a run."""


@dataclass(frozen=True)
class LauncherSpec:
    """Where runs run, and what each is given there. It decides no result: no run's key knows it."""

    where: Where = Where.local
    """``local``, ``slurm`` or ``ray``."""
    at_once: int | None = None
    """Runs at the same time; null: as many as there is room for."""
    gpus: int | None = None
    """GPUs of a run; null: one, and none where ``device=cpu``."""
    cpus: int | None = None
    """CPUs of a run, which its threads follow; null: what the cluster gives unasked."""
    memory_gb: float | None = None
    """Memory of a run; null: likewise."""
    minutes: int = 240
    """How long a job may last (Slurm); one that lasts longer is put back in the queue, up to three times."""
    partition: str | None = None
    """Slurm's."""
    exclusive: bool = True
    """Ask for whole nodes (Slurm), as neighbours share the air, the power supply and the CPUs' meters."""
    options: dict[str, Any] = field(default_factory=dict)
    """More of sbatch's long options by name, as ``launcher.options.account``."""
    setup: list[str] = field(default_factory=list)
    """Shell lines before each job (Slurm), as ``module load cuda``."""
    address: str | None = None
    """Of a Ray cluster, ``auto`` for one that this machine is part of; null: one of this machine alone."""

    def __post_init__(self) -> None:
        least = {"at_once": 1, "gpus": 0, "cpus": 1, "memory_gb": 0.1, "minutes": 1}
        for name, limit in least.items():
            value = getattr(self, name)
            require(value is None or value >= limit, f"launcher.{name}", value, f"{limit} or more")
        unused = sorted(
            name for name in _UNUSED_BY[self.where] if getattr(self, name) != _USUAL[name]
        )
        if unused:
            raise UserError(
                f"launcher.{unused[0]} says nothing of launcher={self.where.value}: leave it out, or choose "
                f"{_takers(unused[0])}."
            )


_SLURM = {"minutes", "partition", "exclusive", "options", "setup"}
_CLUSTER = {"at_once", "gpus", "cpus", "memory_gb"}
_UNUSED_BY = {
    Where.local: {*_SLURM, *_CLUSTER, "address"},
    Where.slurm: {"address"},
    Where.ray: _SLURM,
}
_USUAL: dict[str, Any] = {
    name: each.default_factory() if callable(each.default_factory) else each.default
    for name, each in LauncherSpec.__dataclass_fields__.items()
}


def _takers(name: str) -> str:
    return " or ".join(
        f"launcher={where.value}" for where, unused in _UNUSED_BY.items() if name not in unused
    )


@dataclass(frozen=True)
class BenchSpec(RunSpec):
    """The root of ``conf/``: a run, and how this invocation treats its record."""

    results: str = "results"
    """Directory of records and reports."""
    force: bool = False
    """Measure again what already has a record."""
    sessions: int = 1
    """How often each run is measured, one round of all runs after the other: sessions 1 to so many."""
    launcher: LauncherSpec = field(default_factory=LauncherSpec)
    """Where runs run."""
    devices: Any = AUTO
    """GPUs of this machine that runs are shared out to, one run on each: how many, ``all``, or a list of
    numbers as nvidia-smi counts the visible ones; ``auto``: all, where runs leave each other alone."""
    device_groups: Any = None
    """Lists of such numbers, as ``[[0,1],[2,3]]``: each run has a whole group, its model spread over it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.results.strip()), "results", self.results, "a directory's name")
        self._check_devices()
        most, beside = (
            (1, f" beside session={self.session}") if self.session > 1 else (MOST_SESSIONS, "")
        )
        require(1 <= self.sessions <= most, "sessions", self.sessions, f"1 to {most}{beside}")

    def _check_devices(self) -> None:
        allowed = "auto, all, how many, or a list of numbers, as [0,2]"
        listed = _are_numbers(self.devices)
        counted = isinstance(self.devices, int) and not isinstance(self.devices, bool)
        known = listed or self.devices in (AUTO, "all") or (counted and self.devices >= 1)
        require(known, "devices", self.devices, allowed)
        groups = self.device_groups
        if groups is not None:
            lists = isinstance(groups, list) and groups and all(map(_are_numbers, groups))
            told = [number for group in groups for number in group] if lists else [0, 0]
            apart = len(set(told)) == len(told)
            require(apart, "device_groups", groups, "lists of different numbers, as [[0,1],[2,3]]")
            if self.devices != AUTO:
                raise UserError(
                    "devices and device_groups both say which GPUs: leave one of them out."
                )
        if (self.devices, groups) != (AUTO, None) and self.launcher.where is not Where.local:
            raise UserError(
                "devices and device_groups are of this machine, and the runs go to "
                f"launcher={self.launcher.where.value}: leave them out, or say launcher.gpus=..."
            )


def _are_numbers(value: Any) -> bool:
    """Whether it is a list of different GPUs' numbers."""
    numbers = isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)
    return numbers and 0 < len(value) == len(set(value))
