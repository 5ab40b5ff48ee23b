"""Runs of several devices as sessions of one, where a reader asks for it: a table says of which."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from greenbench.models.keys import run_key
from greenbench.schema.record import Record
from greenbench.schema.resolved import ResolvedDevice, ResolvedSpec


def devices_pooled(records: Iterable[Record]) -> list[Record]:
    """`records`, those that differ in nothing but the device, of one kind, with all their devices' names."""
    alike: dict[str, list[Record]] = {}
    for record in records:
        alike.setdefault(_but_device(record.spec), []).append(record)
    return [record for some in alike.values() for record in _of_one(some)]


def _but_device(spec: ResolvedSpec) -> str:
    """What it asks for, wherever and whenever."""
    known = spec.model_dump(mode="json", exclude={"device", "session", "inputs"})
    inputs = spec.inputs and spec.inputs.model_dump(mode="json", exclude={"machine"})
    return json.dumps([spec.device.kind, known, inputs], sort_keys=True)


def _of_one(alike: Sequence[Record]) -> Iterator[Record]:
    names = sorted({record.spec.device.name for record in alike})
    if len(names) == 1:
        yield from alike
        return
    device = ResolvedDevice(
        kind=alike[0].spec.device.kind, name=f"{len(names)} devices pooled: {'; '.join(names)}"
    )
    inputs = alike[0].spec.inputs
    for record in alike:
        spec = record.spec.model_copy(update={"device": device, "inputs": inputs})
        yield record.model_copy(update={"spec": spec, "key": run_key(spec)})
