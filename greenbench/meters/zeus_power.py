"""AMD GPUs: the power that amd-smi reports, through Zeus, integrated. The check of their counter.

Zeus reads ``current_socket_power``, or ``average_socket_power`` where a GPU has only that. The same firmware
tells counter and power: the check finds a counter of a wrong unit, of another device or that has stopped, and
not a sensor's gain. Not verified on hardware: names and units are those of Zeus 0.16.0.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from greenbench.errors import Lost, Unavailable
from greenbench.machine.clock import Clock
from greenbench.meters.sampled_power import PERIOD_S, SampledPower
from greenbench.meters.telemetry import Telemetry
from greenbench.schema.quantity import Boundary, Provenance

MW = 1e-3  # watts per milliwatt
AVERAGED_S = 1.0  # over which the firmware's mean may go back


class ZeusPower(SampledPower):
    """Sampled power of the first GPUs that Zeus finds, summed.

    Raises Unavailable where it finds none of AMD's, or one that tells no power.
    """

    name = "zeus_power"
    boundary: Boundary = "gpu"
    provenance: Provenance = "measured:integrated:zeus"
    checks = "zeus"

    def __init__(
        self, gpus: Any, count: int, clock: Clock = time, period_s: float = PERIOD_S
    ) -> None:
        """Of the first `count` of `gpus`, Zeus' ``AMDGPUs``."""
        super().__init__(clock, period_s)
        self._gpus, self._indices = gpus, range(count)
        self._milliwatts, self.tick_s, self.note = self._source()
        self.read()

    def _source(self) -> tuple[Callable[[int], float], float, str | None]:
        for tell, tick_s, note in (
            (self._gpus.get_instant_power_usage, self.period_s, None),
            (
                self._gpus.get_average_power_usage,
                AVERAGED_S,
                "Power is a mean that the firmware makes, which blurs the edges of a window.",
            ),
        ):
            with suppress(Exception):
                if all(tell(index) > 0 for index in self._indices):
                    return tell, tick_s, note
        raise Unavailable("A GPU tells Zeus no power, so that nothing checks its energy counter.")

    def power_w(self) -> float:
        """Of all of them."""
        return MW * sum(_told(self._milliwatts, index) for index in self._indices)

    def look(self, now_s: float) -> tuple[Telemetry, list[str]]:
        """The hottest one's temperature; Zeus tells nothing of clocks and throttling."""
        hottest = None
        with suppress(Exception):  # a GPU without that sensor is none that is lost
            hottest = max(int(self._gpus.get_gpu_temperature(index)) for index in self._indices)
        return Telemetry(now_s, hottest), []


def found(uuids: Sequence[str]) -> ZeusPower:
    """That of the run's GPUs."""
    from zeus.device import get_gpus
    from zeus.device.gpu import NVIDIAGPUs
    from zeus.exception import ZeusBaseError

    try:
        gpus = get_gpus()
    except ZeusBaseError as error:
        raise Unavailable(f"Zeus finds no GPU whose power it could tell: {error}") from None
    if isinstance(gpus, NVIDIAGPUs):
        raise Unavailable("The meter nvml samples the power of NVIDIA GPUs itself: use meter=auto.")
    return ZeusPower(gpus, len(uuids))


def _told(milliwatts: Callable[[int], float], index: int) -> float:
    try:
        return milliwatts(index)
    except Exception as error:  # amd-smi's own, of which Zeus lets some through
        raise Lost(
            f"Zeus can no longer read a GPU's power ({type(error).__name__}: {error})."
        ) from None
