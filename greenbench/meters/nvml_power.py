"""NVIDIA GPUs: sampled power, integrated. The counter's independent check, or its stand-in.

A thread samples field 186 (instant power) every 50 ms. What it can be wrong by (Yang, Adamek and Armour,
"Part-time power measurements", arXiv 2312.02741): the sensor's gain, +-5 % and the same in every
window, so that it cancels in ratios; and on GPUs whose sensor looks only part of the time (25 of
100 ms on A100 and H100), a load whose period locks to the sensor's, by up to its whole swing.
Randomized start delays break such a lock, and the residual against the counter shows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pynvml

from greenbench.errors import Lost, Unavailable
from greenbench.machine.clock import Clock
from greenbench.machine.gpus import Gpu, open_gpus
from greenbench.machine.processes import OwnProcesses
from greenbench.meters.nvml_counter import common_boundary, lost
from greenbench.meters.nvml_telemetry import Watch, codes
from greenbench.meters.sampled_power import PERIOD_S, SampledPower
from greenbench.meters.telemetry import Telemetry
from greenbench.schema.quantity import Boundary, Provenance

AVERAGED_S = 1.0  # over which nvmlDeviceGetPowerUsage is a mean on most GPUs since Ampere
MW = 1e-3  # watts per milliwatt


class NvmlPower(SampledPower):
    """Sampled power of one or more GPUs, summed. Raises Unavailable where no GPU reports power."""

    name = "nvml_power"
    provenance: Provenance = "measured:integrated:nvml"
    checks = "nvml"

    def __init__(
        self,
        uuids: Sequence[str],
        clock: Clock = time,
        period_s: float = PERIOD_S,
        own: OwnProcesses | None = None,
    ) -> None:
        """`own` processes are not company; null: this one alone is."""
        super().__init__(clock, period_s)
        self.gpus = open_gpus(uuids)
        self._watch = Watch(self.gpus, own or OwnProcesses())
        try:
            self.boundary: Boundary = common_boundary(self.gpus)
            self._power, self.note = _power_source(self.gpus)
            # What a mean of a second remembers blurs the edges of windows as a counter's tick does.
            self.tick_s = AVERAGED_S if self._power is _average_w else period_s
            self.read()
        except BaseException:
            self.close()
            raise

    def power_w(self) -> float:
        """Of all GPUs."""
        return sum(self._power(gpu) for gpu in self.gpus)

    def look(self, now_s: float) -> tuple[Telemetry, list[str]]:
        """How the GPUs are, and the codes of that."""
        telemetry = self._watch.look(now_s)
        self.unseen = self._watch.hidden
        return telemetry, codes(telemetry)

    def close(self) -> None:
        """Stop sampling and let go of NVML."""
        super().close()
        with self._lock:
            pynvml.nvmlShutdown()


def _power_source(gpus: Sequence[Gpu]) -> tuple[Callable[[Gpu], float], str | None]:
    if all(_answers(_instant_w, gpu) for gpu in gpus):
        return _instant_w, None
    if all(_answers(_average_w, gpu) for gpu in gpus):
        return _average_w, (
            "Power is nvmlDeviceGetPowerUsage's, which most GPUs average over a second: the edges "
            "of a window are blurred by as much, so that windows of under ten seconds are invalid."
        )
    names = ", ".join(f"{gpu.uuid} ({gpu.name})" for gpu in gpus)
    raise Unavailable(f"NVML reports no power for {names}: choose another meter.")


def _answers(power: Callable[[Gpu], float], gpu: Gpu) -> bool:
    """A GPU that is on draws power, so that 0 is no answer."""
    try:
        return power(gpu) > 0
    except Lost:
        return False


def _instant_w(gpu: Gpu) -> float:
    module = gpu.boundary == "module"
    scope = pynvml.NVML_POWER_SCOPE_MODULE if module else pynvml.NVML_POWER_SCOPE_GPU
    with lost(gpu):
        field = pynvml.nvmlDeviceGetFieldValues(
            gpu.handle, [(pynvml.NVML_FI_DEV_POWER_INSTANT, scope)]
        )[0]
        if field.nvmlReturn:
            raise pynvml.NVMLError(field.nvmlReturn)
    return MW * float(field.value.uiVal)


def _average_w(gpu: Gpu) -> float:
    with lost(gpu):
        return MW * float(pynvml.nvmlDeviceGetPowerUsage(gpu.handle))
