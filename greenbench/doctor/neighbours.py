"""``greenbench doctor --neighbours``: whether runs on the GPUs of one machine leave each other alone.

GPUs of a box share its air, its power supply and its CPUs. The model is measured against itself on one GPU,
alone and beside neighbours that keep all others busy, by turns, so that what drifts steadily cancels. Each
run is one observation, as sessions are: its blocks share what the next run will not.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from math import nan, sqrt
from statistics import geometric_mean

from greenbench.analysis.blocks import as_quantity, valid_blocks
from greenbench.analysis.readings import READINGS, Reading, provenance, values
from greenbench.campaign.bench import Asked, bench
from greenbench.doctor.runnable import OK
from greenbench.errors import Unavailable, UserError
from greenbench.machine.device_lock import device_lock_if_free
from greenbench.machine.gpus import all_uuids, whole_gpus
from greenbench.paths import cache_dir
from greenbench.records import neighbour_checks
from greenbench.schema.calibration import NeighbourCheck
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, Metric
from greenbench.schema.quantity import Quantity
from greenbench.schema.record import Record
from greenbench.schema.window import WHO
from greenbench.stats.intervals import Interval
from greenbench.stats.sessions import pooled

A_A_RUN = (
    "technique=none", "protocol=quick", "protocol.blocks=10", "protocol.max_blocks=10", "task=smoke",
    "workload=short", "force=true",
)  # fmt: skip
METRICS = (ENERGY_PER_TOKEN, TOKENS_PER_S)
ROUNDS = 3
"""Of two, Student's t would leave nothing shown."""
VISIBLE = "CUDA_VISIBLE_DEVICES"


def check(say: Callable[[str], None], overrides: Sequence[str] = ()) -> NeighbourCheck:
    """Measure it, in some ten minutes, and keep it for sweeps to ask. `overrides` are of the A/A runs.

    Raises UserError where there is one GPU, another run is on any, or joules are not measured.
    """
    (mine, name), *others = _gpus().items()
    every = all_uuids()
    alone: list[Record] = []
    beside: list[Record] = []
    with device_lock_if_free(every) as free:
        if not free:
            raise UserError(
                "A run is on a GPU of this machine: look at neighbours when it is over."
            )
        for number in range(ROUNDS):
            say(
                f"neighbours: the model against itself on one GPU, alone ({number + 1} of {ROUNDS + 1})"
            )
            alone.append(_a_a(mine, every, overrides))
            with _busy(others):
                say(f"neighbours: beside {len(others)} that are busy ({number + 1} of {ROUNDS})")
                beside.append(_a_a(mine, every, overrides))
        say(f"neighbours: alone ({ROUNDS + 1} of {ROUNDS + 1})")
        alone.append(_a_a(mine, every, overrides))
    found = NeighbourCheck(
        device_name=name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        neighbours=len(others),
        moved={metric.ratio: moved(metric, alone, beside) for metric in METRICS},
        ratios={
            metric.ratio: _together(metric, _a_a_ratios(metric, beside), beside)
            for metric in METRICS
        },
    )
    say(f"wrote {neighbour_checks.write(found, every)}")
    return found


def _a_a(uuid: str, locked: Sequence[str], overrides: Sequence[str]) -> Record:
    """A run on that GPU, whose lock is held with all others'."""
    own = cache_dir() / "calibration" / "neighbours"
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = uuid
    try:
        (record,) = bench(Asked([*A_A_RUN, f"results={own}", *overrides], held=locked))
    finally:
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before
    if record.status != "completed":
        why = record.failure.message.rstrip(".") if record.failure else record.status
        raise UserError(f"The A/A run ended without a result ({why}): mend that, and check again.")
    _require_joules(record)
    return record


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


def moved(metric: Metric, alone: Sequence[Record], beside: Sequence[Record]) -> Quantity:
    """The level beside neighbours over that of the runs alone before and after, pooled over the rounds: what
    rounds differ by is in its interval."""
    before = [_level(metric, record) for record in alone]
    pairs = zip(beside, before, before[1:], strict=False)
    return _together(metric, [_level(metric, here) / sqrt(x * y) for here, x, y in pairs], beside)


def _a_a_ratios(metric: Metric, records: Sequence[Record]) -> list[float]:
    return [record.ratios[metric.ratio].value or nan for record in records]


def _together(metric: Metric, ratios: Sequence[float], records: Sequence[Record]) -> Quantity:
    """Of rounds, each as one number."""
    found = pooled([Interval(each, None, None, 1) for each in ratios]).ratio
    return as_quantity(found, "ratio", provenance(records[0].windows, _reading(metric)))


def _level(metric: Metric, record: Record) -> float:
    """Of both sides, which are one model: a geometric mean over the blocks."""
    windows = valid_blocks(record.windows)
    return geometric_mean([x for who in WHO for x in values(windows, who, _reading(metric))])


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
            env = os.environ | {VISIBLE: uuid}
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
