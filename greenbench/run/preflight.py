"""What is refused before a run starts, in one sentence each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from greenbench.analysis.disturbances import TICKS
from greenbench.engines.engine import Engine
from greenbench.errors import UserError
from greenbench.meters import OpenMeters
from greenbench.schema.spec import ProtocolSpec, WorkloadSpec
from greenbench.techniques import Technique

IN_PROCESS = cast(Engine, SimpleNamespace(name="transformers", forms=frozenset({"module"})))
"""The one engine there is so far."""


def require_ticks(meters: OpenMeters, protocol: ProtocolSpec) -> None:
    """Raise UserError for windows too short for the counter that is to be read."""
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
