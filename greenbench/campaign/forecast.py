"""How long runs will take, and how many joules: as runs like them took here, else what the protocol asks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple, Self

from greenbench.analysis.readings import joules
from greenbench.campaign.closing import is_estimate
from greenbench.campaign.compose import plain
from greenbench.campaign.identity import label
from greenbench.machine.detect import Machine
from greenbench.machine.gpus import most_w
from greenbench.models import corpus
from greenbench.records.store import load
from greenbench.schema.record import Record
from greenbench.schema.spec import RunSpec
from greenbench.schema.window import WHO
from greenbench.wording import ESTIMATE, duration, number

SAME: Final = "as this was measured here before"
ALIKE: Final = "as others were of the same model, engine, protocol and questions here"
LEAST: Final = (
    "its blocks alone, without loading, preparing and questions: nothing like it was measured here"
)
APART: Final = {
    "task": {"seed", "include_path", "allow_task_code"},
    "workload": {"name"},
    "protocol": {"time_limit_s", "profile"},
    "load": {"trace"},
}
"""Parts of a spec that a run's time hangs on, and what of them it does not."""


class Forecast(NamedTuple):
    """Of one run."""

    seconds: float
    power_w: float | None
    """Mean of both models; of what was never measured here, what its GPUs may draw; null where that is not
    known."""
    basis: str
    """One of the three above."""
    estimated: bool = False
    """Whether the power rests on estimates."""

    def __str__(self) -> str:
        return f"{_total([self])}, {self.basis}"


class Forecaster:
    """What `records` of a results directory say of runs that are to come."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._alike: dict[str, list[Record]] = {}
        for record in records:
            if record.status == "completed":
                self._alike.setdefault(_kept(record), []).append(record)

    @classmethod
    def reading(cls, folders: Iterable[Path]) -> Self:
        """Of those results directories that are there."""
        return cls(load([each for each in dict.fromkeys(folders) if each.is_dir()]).records)

    def of(self, spec: RunSpec, machine: Machine) -> Forecast:
        """One run's."""
        alike = self._alike.get(_asked(spec, machine), [])
        same = [record for record in alike if record.name == label(spec)]
        for records, basis in ((same, SAME), (alike, ALIKE)):
            if records:
                powers = [power for record in records if (power := _power_w(record)) is not None]
                return Forecast(
                    median(record.stages_s["total"] for record in records),
                    median(powers) if powers else None,
                    basis,
                    any(map(is_estimate, records)),
                )
        return Forecast(_least_s(spec), most_w(machine.uuids), LEAST)


def at_least(spec: RunSpec) -> Forecast:
    """Of a run whose device is not here."""
    return Forecast(_least_s(spec), None, LEAST)


def whole(forecasts: Sequence[Forecast], *, done: int, refused: int) -> str:
    """One sentence about a sweep: `forecasts` of what is left to measure."""
    beside = [f"{done} done already"] * bool(done) + [f"{refused} refused here"] * bool(refused)
    counts = ", ".join([f"{len(forecasts)} runs to measure", *beside])
    if not forecasts:
        return counts
    bases = [
        f"{count} {basis}" if count < len(forecasts) else basis
        for basis in (SAME, ALIKE, LEAST)
        if (count := sum(one.basis == basis for one in forecasts))
    ]
    return f"{counts}: {_total(forecasts)} ({'; '.join(bases)})"


def each_s(forecasts: Sequence[Forecast]) -> float | None:
    """What one of them takes; null where nothing like one of them was measured here."""
    if not forecasts or any(one.basis == LEAST for one in forecasts):
        return None
    return sum(one.seconds for one in forecasts) / len(forecasts)


def _total(forecasts: Sequence[Forecast]) -> str:
    how = "at least" if any(one.basis == LEAST for one in forecasts) else "about"
    said = f"{how} {duration(sum(one.seconds for one in forecasts))}"
    if any(one.power_w is None for one in forecasts):  # a part would be read as the whole
        return said
    energy_j = sum(one.seconds * (one.power_w or 0.0) for one in forecasts)
    mark = ESTIMATE if any(one.estimated for one in forecasts) else ""
    most = "in it at most " if any(one.basis == LEAST for one in forecasts) else ""
    return f"{said} and {most}{mark}{number(energy_j / 3600)} Wh"


def _asked(spec: RunSpec, machine: Machine) -> str:
    """What a run's time hangs on, beside its techniques."""
    parts = {name: plain(getattr(spec, name)) for name in ("model", *APART)}
    parts["training"] = _trained(plain(spec.training)) if spec.trains else None
    if spec.trains:
        parts["training"]["dataset"] = corpus.named(spec.training)
    device = {"kind": machine.device, "name": machine.device_name}
    return _setting(parts, device, spec.engine.name)


def _kept(record: Record) -> str:
    """The same of a record."""
    parts = record.spec.model_dump(mode="json", include={"model", "training", *APART})
    parts["training"] = parts["training"] and _trained(parts["training"])
    return _setting(
        parts, record.spec.device.model_dump(include={"kind", "name"}), record.spec.engine.name
    )


def _setting(parts: dict[str, Any], device: dict[str, str], engine: str) -> str:
    model = parts["model"]
    local = model["name"] if model["source"] == "local" else None
    which = [model["source"], model["id"], sorted(model["packages"]), local, model["dtype"]]
    asked = [
        {name: value for name, value in parts[part].items() if name not in APART[part]}
        for part in APART
    ]
    told = [which, asked, parts["training"], device, engine]
    return json.dumps(_floats(told), sort_keys=True)


def _trained(parts: dict[str, Any]) -> dict[str, Any]:
    """Of a training what its time hangs on: no commit of its data set."""
    return parts | {"revision": None}


def _floats(value: Any) -> Any:
    """With all numbers as such: a rate of 1 is one of 1.0."""
    if isinstance(value, dict):
        return {name: _floats(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_floats(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _power_w(record: Record) -> float | None:
    """Mean over the windows of both models."""
    mine = [window for window in record.windows if window.who in WHO and window.energy]
    seconds = sum(window.end_s - window.start_s for window in mine)
    return sum(joules(window) or 0.0 for window in mine) / seconds if seconds else None


def _least_s(spec: RunSpec) -> float:
    """Of warm-up, idle and the blocks of both models, at their shortest; of trainings idle alone."""
    protocol, loads = spec.protocol, max(1, len(spec.load.points))
    if spec.trains:  # how long a step takes no one knows beforehand
        return protocol.idle_s
    blocks_s = 2 * protocol.blocks * protocol.window_s * loads
    return protocol.idle_s + 2 * protocol.warmup_s + blocks_s
