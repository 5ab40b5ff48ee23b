"""What is refused before a run starts, in one sentence each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from greenbench.analysis.disturbances import TICKS
from greenbench.errors import UserError
from greenbench.machine.detect import Machine
from greenbench.meters import OpenMeters
from greenbench.meters.wall_log import WallLog
from greenbench.quality.tasks import check_tasks
from greenbench.schema.spec import MeterSpec, ProtocolSpec, RunSpec
from greenbench.techniques.stack import check_order, require_forms


def refuse_here(spec: RunSpec, machine: Machine) -> WallLog | None:
    """Refuse, in the run's own process, what cannot run on `machine`; the wall meter's log, if any."""
    log = wall_log(spec.meter)
    stack = list(spec.technique.values())
    check_order(stack)
    spec.engine.check(machine)
    require_forms(stack, spec.engine)
    for technique in stack:
        technique.check(machine, spec.engine)
    check_tasks(spec.task)
    return log


def refuse_model(spec: RunSpec, config: Any) -> None:
    """Each technique meets the model that those before it leave. `config` is transformers'."""
    for technique in spec.technique.values():
        technique.check_model(config, spec.workload)
        config = technique.after(config)


def wall_log(spec: MeterSpec) -> WallLog | None:
    """The log that `spec` names, read; null where it names none. Raises UserError."""
    return WallLog(Path(spec.wall_log), spec.wall_offset_s) if spec.wall_log else None


def require_ticks(meters: OpenMeters, protocol: ProtocolSpec) -> None:
    """Raise UserError for windows too short for the counter that is to be read."""
    for meter in meters.meters[:1]:
        if protocol.window_s < TICKS * meter.tick_s:
            raise UserError(
                f"protocol.window_s={protocol.window_s:g} is shorter than {TICKS} ticks of the meter "
                f"{meter.name} ({meter.tick_s:g} s each), whose joules would be mostly rounding: "
                f"set protocol.window_s={TICKS * meter.tick_s:g} or more."
            )
