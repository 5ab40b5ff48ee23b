"""``greenbench doctor --calibrate``: how fine this machine's meters are, and its noise floor."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from greenbench.campaign.bench import Asked, bench
from greenbench.campaign.launch.local import Workers
from greenbench.errors import UserError
from greenbench.machine.detect import Machine, detect, environment
from greenbench.meters import Meter, Unavailable, open_meters
from greenbench.meters.nvml_power import NvmlPower
from greenbench.paths import cache_dir
from greenbench.records import calibrations
from greenbench.records.store import load
from greenbench.schema.calibration import Calibration, MeterCost, NoiseFloor
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.resolved import ResolvedDevice
from greenbench.schema.spec import USUAL_ENGINE, MeterSpec
from greenbench.stats.intervals import mean_interval

READS = 500
READ_LIMIT_S = 2.0  # some meters take milliseconds to read
SAMPLER_PAIRS, SAMPLER_S = 5, 1.0
METERS_LIMIT_S = 300.0
LEAST_BLOCKS = 5  # fewer tell nothing about spread
A_A_RUN = ("technique=none", "protocol=quick", "task=smoke", "workload=short", "force=true")


class Costs(NamedTuple):
    """What a worker found out about the meters."""

    machine: Machine
    versions: dict[str, str]
    meters: list[MeterCost]
    refused: dict[str, str]
    sampler: Quantity


def calibrate(say: Callable[[str], None], results: Path = Path("results")) -> Calibration:
    """Measure the meters that answer here and the noise floor, and store both.

    The noise floor is taken from the newest A/A record of this device in `results`; where there
    is none, an A/A run of the embedded model is made now, which takes some minutes. `say` hears
    what is going on. Raises UserError where a part of it fails.
    """
    costs = _in_a_worker(say)
    record = _a_a_record(costs.machine, results, say)
    done = Calibration(
        device_name=costs.machine.device_name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=costs.versions,
        meters=costs.meters,
        refused=costs.refused,
        sampler=costs.sampler,
        noise=noise_floor(record),
    )
    say(f"wrote {calibrations.write(done)}")
    return done


def _in_a_worker(say: Callable[[str], None]) -> Costs:
    """A process of its own, because one that has touched CUDA would be a foreign one to the run."""
    with Workers(("torch", __name__)) as workers:
        outcome = workers.call(
            meter_costs,
            time_limit_s=METERS_LIMIT_S,
            log_path=None,
            on_progress=lambda progress: say(progress.stage),
        )
    if outcome.failure is not None:
        raise UserError(f"The meters could not be calibrated: {outcome.failure.message}")
    return Costs(*outcome.value)


def meter_costs(*, progress: Callable[[str, int, int], None]) -> Costs:
    """Tick and read cost of every meter that answers, and the sampler's cost."""
    machine = detect("auto")
    with open_meters(MeterSpec(), machine.uuids) as opened:
        progress("meters: seconds per reading", 0, 1)
        costs = [read_cost(meter) for meter in opened.meters]
        refused = dict(opened.refused)
    progress("sampler: its own CPU time", 0, 1)
    return Costs(machine, _versions(machine), costs, refused, sampler_cost(machine.uuids))


def _versions(machine: Machine) -> dict[str, str]:
    facts = environment(machine)
    packages = {name: facts["packages"][name] for name in ("torch", "transformers")}
    versions = {"greenbench": facts["greenbench"], "python": facts["python"], **packages}
    for gpu in facts["gpus"]:
        versions |= {"nvidia-driver": gpu["driver"]} if gpu["driver"] else {}
    return versions


def read_cost(meter: Meter) -> MeterCost:
    """Time `meter`'s readings."""
    seconds: list[float] = []
    began_s = time.perf_counter()
    while len(seconds) < READS and time.perf_counter() - began_s < READ_LIMIT_S:
        start_s = time.perf_counter()
        meter.read()
        seconds.append(time.perf_counter() - start_s)
    return MeterCost(
        meter=meter.name,
        boundary=meter.boundary,
        provenance=meter.provenance,
        tick_s=meter.tick_s,
        read=Quantity(
            value=statistics.median(seconds),
            unit="s/read",
            provenance="measured:clock",
            n=len(seconds),
            reason="a median of successive reads, which are not independent, has no interval",
        ),
    )


def sampler_cost(uuids: Sequence[str], seconds: float = SAMPLER_S) -> Quantity:
    """CPU seconds of this process per second with the sampler on, less those with it off."""
    unit = "CPU s/s"
    if not uuids:
        return missing(unit, "this device has no NVML power meter, so nothing is sampled")
    try:
        added = [_added_share(uuids, seconds) for _ in range(SAMPLER_PAIRS)]
    except Unavailable as reason:
        return missing(unit, str(reason))
    value, low, high, n, why = mean_interval(added)
    return Quantity(
        value=value, unit=unit, provenance="measured:clock", n=n, low=low, high=high, reason=why
    )


def _added_share(uuids: Sequence[str], seconds: float) -> float:
    sampler = NvmlPower(uuids).start()
    try:
        on = _cpu_share(seconds)
    finally:
        sampler.close()
    return on - _cpu_share(seconds)


def _cpu_share(seconds: float) -> float:
    wall_s, cpu_s = time.monotonic(), time.process_time()
    time.sleep(seconds)
    return (time.process_time() - cpu_s) / (time.monotonic() - wall_s)


def noise_floor(record: Record) -> NoiseFloor:
    """What an A/A record says about this machine's noise."""
    energy = record.ratios[ENERGY_PER_TOKEN.ratio]
    measured = energy.is_measured
    return NoiseFloor(
        tokens_per_s=_half_width(record.ratios[TOKENS_PER_S.ratio]),
        energy_per_token=_half_width(energy)
        if measured or energy.value is None
        else missing("ratio", "joules are estimated here, and an estimate has no noise of its own"),
        record=record.key,
        measured_at=record.started_at,
        window_s=record.spec.protocol.window_s,
        blocks=record.ratios[TOKENS_PER_S.ratio].n,
    )


def _half_width(ratio: Quantity) -> Quantity:
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return missing("ratio", ratio.reason or "the A/A run has no interval")
    return Quantity(
        value=(ratio.high - ratio.low) / 2 / ratio.value,
        unit="ratio",
        provenance=ratio.provenance,
        n=ratio.n,
        reason="it is the half-width of an interval itself",
    )


def _a_a_record(machine: Machine, results: Path, say: Callable[[str], None]) -> Record:
    newest = newest_a_a(results, machine)
    if newest is not None:
        say(f"noise floor: from the A/A run {newest.key} of {newest.started_at}")
        return newest
    say("noise floor: an A/A run of the embedded model, some minutes")
    own = cache_dir() / "calibration" / "results"
    (run,) = bench(Asked([*A_A_RUN, f"results={own}"]))
    made = newest_a_a(own, machine)
    if run.status != "completed" or made is None:
        raise UserError(
            "The A/A run gave no noise floor: see above what it said, mend that and calibrate again."
        )
    return made


def newest_a_a(results: Path, machine: Machine) -> Record | None:
    """The newest valid A/A record of this device with enough blocks, if any."""
    device = ResolvedDevice(kind=machine.device, name=machine.device_name)
    suited = [
        record
        for record in load([results]).records
        if record.status == "completed"
        and record.validity != "invalid"
        and not record.spec.technique
        and record.spec.engine.name == USUAL_ENGINE
        and record.spec.device == device
        and record.ratios[TOKENS_PER_S.ratio].n >= LEAST_BLOCKS
    ]
    return max(suited, key=lambda record: record.started_at, default=None)
