"""Which GPUs of this machine a sweep's runs are shared out to, and which a run has to have all for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor
from typing import Any, NamedTuple

import psutil

from greenbench.campaign.compose import Job
from greenbench.campaign.invocation import BenchSpec
from greenbench.campaign.launch.box import Slot
from greenbench.errors import Unavailable, Unsupported, UserError
from greenbench.machine.cpu_load import OTHER_LOAD
from greenbench.machine.gpus import all_uuids, whole_gpus
from greenbench.meters import counts_one_gpu
from greenbench.records import neighbour_checks
from greenbench.run.preflight import engines
from greenbench.schema.enums import Tier
from greenbench.schema.ranges import AUTO

ONE = ("auto", "cuda")
"""Devices that are one GPU, whichever."""
CHECK = "greenbench doctor --neighbours"
UNCHECKED = (
    f"whether runs beside each other leave each other alone here has not been looked at ({CHECK})"
)


class Shares(NamedTuple):
    """How a sweep is shared out."""

    slots: Sequence[Slot]
    """Empty: its runs are one after the other, each where it finds its device."""
    why: str | None = None
    """One sentence for the user, where there are several GPUs."""


def shares(jobs: Sequence[Job]) -> Shares:
    """How the runs of `jobs` are shared out. Raises UserError for devices that cannot be had."""
    first = jobs[0].spec
    if any(_asked(job.spec) != _asked(first) for job in jobs):
        raise UserError("A sweep has one devices and one device_groups: name one of each.")
    if _asked(first) == (AUTO, None):
        return _unasked([job.spec for job in jobs])
    return Shares(_asked_for([job.spec for job in jobs]))


def alone(spec: BenchSpec) -> list[str]:
    """UUIDs of what else on this machine has to rest during a run: of publish tier, all GPUs, unless the
    check of neighbours has passed here."""
    uuids = all_uuids() if spec.protocol.tier is Tier.publish else []
    return [] if _has_passed(len(uuids)) else uuids


def beside(spec: BenchSpec) -> dict[str, Any]:
    """What a record's environment says of runs on other GPUs meanwhile."""
    if not spec.neighbours:
        return {}
    check = neighbour_checks.read(all_uuids())
    said = (
        "not looked at"
        if check is None
        else f"{'passed' if check.passed else 'failed'} {check.date}"
    )
    return {"neighbours": {"runs": spec.neighbours, "check": said}}


def _asked(spec: BenchSpec) -> tuple[object, object]:
    return spec.devices, spec.device_groups


def _unasked(specs: Sequence[BenchSpec]) -> Shares:
    """All GPUs of a kind, where that is sound."""
    apart = len({spec.results for spec in specs}) > 1
    one_gpu = all(spec.device in ONE and not spec.twins and _is_of_gpus(spec) for spec in specs)
    alike = _alike() if len(specs) > 1 and one_gpu and not apart else []
    if len(alike) < 2:
        return Shares(())
    check = neighbour_checks.read(all_uuids())
    if check is not None and check.passed:
        alike = alike[: check.neighbours + 1]
    most = min(len(alike), len(specs), 1 + floor(OTHER_LOAD * (psutil.cpu_count() or 1)))
    why = None
    if check is not None and not check.passed:
        why = f"neighbours disturb each other on this machine ({CHECK})"
    elif check is None and any(spec.protocol.tier is Tier.publish for spec in specs):
        why = f"that is the rule of tier publish, as {UNCHECKED}"
    elif most < 2:
        why = "one beside it would keep a tenth and more of this machine's few CPUs busy"
    if why:
        return Shares((), f"one run at a time on {len(alike)} GPUs, as {why}")
    return Shares(
        [(uuid,) for uuid in alike[:most]], None if check else f"{UNCHECKED}; devices=1 is alone"
    )


def _alike() -> list[str]:
    """GPUs that are whole and called as the first is."""
    try:
        seen = whole_gpus()
    except Unavailable:
        return []  # none, or slices: a run says what it is about them
    return [uuid for uuid, name in seen.items() if name == next(iter(seen.values()))]


def _is_of_gpus(spec: BenchSpec) -> bool:
    """Whether it computes here, and a meter is asked for that counts one GPU alone, and none at the wall,
    which is joined later."""
    return (
        not _asks_a_server(spec)
        and spec.meter.wall_log is None
        and any(map(counts_one_gpu, spec.meter.order))
    )


def _asks_a_server(spec: BenchSpec) -> bool:
    """Whether a server answers that all runs would ask."""
    return any("url" in engine.forms for engine in engines(spec).values())


def _asked_for(specs: Sequence[BenchSpec]) -> list[Slot]:
    spec = specs[0]
    said = (
        f"devices={_text(spec.devices)}"
        if spec.device_groups is None
        else f"device_groups={_text(spec.device_groups)}"
    )
    for each in specs:
        if each.device not in (*ONE, "cuda_all") or each.twins:
            other = "twins=true" if each.twins else f"device={each.device}"
            raise UserError(
                f"{said} shares GPUs out, and {other} names them: leave one of them out."
            )
    seen = _seen(said)
    groups = _groups(spec, list(seen), said, spread=any(s.device == "cuda_all" for s in specs))
    kinds = {tuple(sorted(seen[uuid] for uuid in group)) for group in groups}
    if len(kinds) > 1:
        names = "; ".join(sorted(" + ".join(kind) for kind in kinds))
        raise UserError(
            f"{said} are not of one kind ({names}), and runs on different ones are not compared: give a "
            "command for each kind."
        )
    if len(groups) > 1 and any(map(_asks_a_server, specs)):
        raise UserError(
            f"{said} would run several at once, and all would ask the one server at engine.url: say "
            "devices=1."
        )
    if len(groups) > 1 and any(each.meter.wall_log is not None for each in specs):
        raise UserError(
            f"{said} would run several at once, and a meter at the wall counts all of them: say devices=1."
        )
    publish = any(each.protocol.tier is Tier.publish for each in specs)
    if len(groups) > 1 and publish and not _has_passed(sum(map(len, groups))):
        raise UserError(
            f"{said} would run several at once, and a run of tier publish is alone unless `{CHECK}` has "
            "passed on this machine: run that first, or say devices=1."
        )
    return groups


def _seen(said: str) -> Mapping[str, str]:
    try:
        seen = whole_gpus()
    except Unavailable as reason:
        raise Unsupported(f"{said} asks for GPUs: {reason}") from None
    if not seen:
        raise Unsupported(f"{said} asks for GPUs, and CUDA may use none of them here.")
    return seen


def _groups(spec: BenchSpec, uuids: Sequence[str], said: str, *, spread: bool) -> list[Slot]:
    chosen = spec.devices
    if spec.device_groups is not None:
        groups = spec.device_groups
    elif isinstance(chosen, list):
        groups = [chosen] if spread else [[each] for each in chosen]
    else:
        count = len(uuids) if chosen in ("all", AUTO) else chosen
        groups = [list(range(count))] if spread else [[each] for each in range(count)]
    most = max(number for group in groups for number in group)
    if most >= len(uuids):
        are = "is 1 whole GPU" if len(uuids) == 1 else f"are {len(uuids)} whole GPUs"
        raise UserError(
            f"{said} asks for more GPUs than CUDA may use: there {are}, counted from 0."
        )
    return [tuple(uuids[number] for number in group) for group in groups]


def _has_passed(gpus: int) -> bool:
    """Whether so many at once, and with as many busy or more, were seen to leave each other alone."""
    check = neighbour_checks.read(all_uuids())
    return check is not None and check.passed and check.neighbours >= gpus - 1


def _text(value: object) -> str:
    return str(value).replace(" ", "")
