"""``greenbench doctor --neighbours``: whether runs on the GPUs of one machine leave each other alone.

GPUs of a box share its air, its power supply and its CPUs. The model is measured against itself on one GPU,
alone, beside neighbours that keep all others busy, and alone again, so that what drifts steadily cancels.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from math import sqrt

from greenbench.analysis.blocks import as_quantity, valid_blocks
from greenbench.analysis.readings import READINGS, Reading, provenance, values
from greenbench.campaign.bench import Asked, bench
from greenbench.doctor.runnable import OK
from greenbench.errors import Unavailable, UserError
from greenbench.machine.gpus import all_uuids, whole_gpus
from greenbench.paths import cache_dir
from greenbench.records import neighbour_checks
from greenbench.schema.calibration import NeighbourCheck
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, Metric
from greenbench.schema.quantity import Quantity
from greenbench.schema.record import Record
from greenbench.schema.window import WHO
from greenbench.stats.intervals import paired_ratio

A_A_RUN = (
    "technique=none", "protocol=quick", "protocol.blocks=10", "protocol.max_blocks=10", "task=smoke",
    "workload=short", "force=true",
)  # fmt: skip
METRICS = (ENERGY_PER_TOKEN, TOKENS_PER_S)


def check(say: Callable[[str], None], overrides: Sequence[str] = ()) -> NeighbourCheck:
    """Measure it, in some minutes, and keep it for sweeps to ask. `overrides` are of the A/A runs.

    Raises UserError where there is one GPU, or its joules are not measured.
    """
    (_, name), *others = _gpus().items()
    own = cache_dir() / "calibration" / "neighbours"

    def run(said: str) -> Record:
        say(f"neighbours: the model against itself on one GPU, {said}")
        (record,) = bench(Asked([*A_A_RUN, f"results={own}", *overrides]))
        if record.status != "completed":
            why = record.failure.message.rstrip(".") if record.failure else record.status
            raise UserError(
                f"The A/A run ended without a result ({why}): mend that, and check again."
            )
        _require_joules(record)
        return record

    before = run("alone")
    with _busy(others):
        beside = run(f"beside {len(others)} that are busy")
    after = run("alone again")
    found = NeighbourCheck(
        device_name=name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        neighbours=len(others),
        moved={metric.ratio: moved(metric, before, beside, after) for metric in METRICS},
        ratios={metric.ratio: beside.ratios[metric.ratio] for metric in METRICS},
    )
    say(f"wrote {neighbour_checks.write(found, all_uuids())}")
    return found


def known() -> dict[str, str]:
    """What is known of runs beside each other, where there are several GPUs."""
    uuids = all_uuids()
    if len(uuids) < 2:
        return {}
    found = neighbour_checks.read(uuids)
    if found is None:
        return {"neighbours": "not looked at: run `greenbench doctor --neighbours`."}
    quantities = {f"{name}, moved": each for name, each in found.moved.items()} | found.ratios
    said = "; ".join(f"{name} {_ratio(each)}" for name, each in quantities.items())
    verdict = f"{OK}: " if found.passed else "runs beside each other are not shown to be the same: "
    return {"neighbours": f"{verdict}{said}, with {found.neighbours} busy, {found.date}"}


def _ratio(quantity: Quantity) -> str:
    if quantity.value is None or quantity.low is None or quantity.high is None:
        return str(quantity.reason)
    return f"{quantity.value:.3f}x ({quantity.low:.3f}-{quantity.high:.3f})"


def moved(metric: Metric, before: Record, beside: Record, after: Record) -> Quantity:
    """The level in `beside` over that in the two others, block by block."""
    alone = [
        sqrt(x * y) for x, y in zip(_blocks(before, metric), _blocks(after, metric), strict=False)
    ]
    source = provenance(beside.windows, _reading(metric))
    here = _blocks(beside, metric)
    count = min(len(alone), len(here))
    return as_quantity(paired_ratio(alone[:count], here[:count]), "ratio", source)


def _blocks(record: Record, metric: Metric) -> list[float]:
    """Of both sides, which are one model: a geometric mean for each block."""
    windows = valid_blocks(record.windows)
    sides = [values(windows, who, _reading(metric)) for who in WHO]
    return [sqrt(x * y) for x, y in zip(*sides, strict=False)]


def _reading(metric: Metric) -> Reading:
    return next(reading for reading in READINGS if reading.metric == metric)


def _gpus() -> dict[str, str]:
    try:
        seen = whole_gpus()
    except Unavailable as reason:
        raise UserError(f"There are no neighbours to look at: {reason}") from None
    if len(seen) < 2:
        raise UserError(
            f"There are no neighbours to look at: CUDA may use {len(seen)} whole GPUs here, and two or more "
            "are needed."
        )
    return seen


def _require_joules(record: Record) -> None:
    found = record.ratios[ENERGY_PER_TOKEN.ratio]
    if not found.is_measured:
        raise UserError(
            f"Joules are not measured here ({found.reason or 'they are estimated'}), so that nothing can be "
            "said of neighbours: see `greenbench doctor` for the meters."
        )


@contextmanager
def _busy(uuids: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Each of these GPUs kept busy."""
    command = [sys.executable, "-m", "greenbench.machine.busy_gpu"]
    at_work: list[subprocess.Popen[bytes]] = []
    try:
        for uuid, _ in uuids:
            env = os.environ | {"CUDA_VISIBLE_DEVICES": uuid}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            at_work.append(subprocess.Popen(command, env=env, **pipes))  # type: ignore[call-overload]
        for process in at_work:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise UserError("A GPU could not be kept busy: see above what it said.")
        yield
    finally:
        for process in at_work:
            process.kill()
            process.wait()
