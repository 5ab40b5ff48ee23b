"""What is refused before a run starts, in one sentence each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbench.errors import UserError
from greenbench.models import files
from greenbench.quality.tasks import check_tasks
from greenbench.schema.spec import ProtocolSpec, RunSpec, WorkloadSpec

if TYPE_CHECKING:
    from greenbench.machine.detect import Machine
    from greenbench.meters import OpenMeters
    from greenbench.techniques import Technique


def refuse(spec: RunSpec) -> None:
    """Raise UserError for a missing model, data wheel, task or wall log, before a process starts."""
    files.check(spec.model)
    for technique in spec.technique.values():
        technique.disclosed()  # says what is missing of its own
    check_tasks(spec.task)
    if spec.meter.wall_log:
        from greenbench.meters.wall_log import WallLog

        WallLog(Path(spec.meter.wall_log), spec.meter.wall_offset_s)


def refuse_here(spec: RunSpec, machine: Machine) -> None:
    """Raise Unsupported where `machine` cannot run a technique or the engine; no model is loaded."""
    for technique in spec.technique.values():
        technique.check(machine)
    if spec.engine is not None:
        spec.engine.check(machine)


def require_ticks(meters: OpenMeters, protocol: ProtocolSpec) -> None:
    """Raise UserError for windows too short for the counter that is to be read."""
    from greenbench.analysis.disturbances import TICKS

    for meter in meters.meters[:1]:
        if protocol.window_s < TICKS * meter.tick_s:
            raise UserError(
                f"protocol.window_s={protocol.window_s:g} is shorter than {TICKS} ticks of the meter "
                f"{meter.name} ({meter.tick_s:g} s each), whose joules would be mostly rounding: "
                f"set protocol.window_s={TICKS * meter.tick_s:g} or more."
            )


def refuse_model(stack: list[Technique], config: Any, workload: WorkloadSpec) -> None:
    """Each technique meets the model that those before it leave."""
    for technique in stack:
        technique.check_model(config, workload)
        config = technique.after(config)
