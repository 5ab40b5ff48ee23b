"""NVIDIA GPUs: sampled power, integrated. The counter's independent check, or its stand-in.

A thread samples field 186 (instant power) every 50 ms and integrates it by trapezoids, so that
it is a cumulative counter like any other. What it can be wrong by (Yang, Adamek and Armour,
"Part-time power measurements", arXiv 2312.02741): the sensor's gain, +-5 % and the same in every
window, so that it cancels in ratios; and on GPUs whose sensor looks only part of the time (25 of
100 ms on A100 and H100), a load whose period locks to the sensor's, by up to its whole swing.
Randomized start delays break such a lock, and the residual against the counter shows it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import pynvml

from greenbench.errors import Lost, Unavailable
from greenbench.machine.clock import Clock
from greenbench.machine.gpus import Gpu, open_gpus
from greenbench.machine.processes import OwnProcesses
from greenbench.meters.meter import Meter, Reading, keep_reading
from greenbench.meters.nvml_counter import common_boundary, lost
from greenbench.meters.nvml_telemetry import Sample, Telemetry, Watch, resample
from greenbench.schema.quantity import Boundary, Provenance
from greenbench.schema.window import Trace

PERIOD_S = 0.05
AVERAGED_S = 1.0  # over which nvmlDeviceGetPowerUsage is a mean on most GPUs since Ampere
GAP_PERIODS = 10  # this long without a sample, and what the GPU drew is a guess
TELEMETRY_PERIODS = 5  # temperatures and clocks move slower than power
KEPT_SAMPLES = 200_000  # more than an hour: longer than any window
MW = 1e-3  # watts per milliwatt


class NvmlPower(Meter):
    """Sampled power of one or more GPUs, summed and integrated. Joules count from the opening.

    Samples when read, and in the background once :meth:`start` was called. Raises Unavailable
    where no GPU reports power.
    """

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
        self.gpus = open_gpus(uuids)
        self._watch = Watch(self.gpus, own or OwnProcesses())
        self.period_s, self._clock = period_s, clock
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._energy_j, self._faults = 0.0, list[str]()
        self._samples: deque[Sample] = deque(maxlen=KEPT_SAMPLES)
        self._telemetry: deque[Telemetry] = deque(maxlen=KEPT_SAMPLES // TELEMETRY_PERIODS)
        try:
            self.boundary: Boundary = common_boundary(self.gpus)
            self._power, self.note = _power_source(self.gpus)
            # What a mean of a second remembers blurs the edges of windows as a counter's tick does.
            self.tick_s = AVERAGED_S if self._power is _average_w else period_s
            self.read()
        except BaseException:
            self.close()
            raise

    def start(self) -> NvmlPower:
        """Sample in the background until closed."""
        keep_reading(self.read, self.period_s, self._closed)
        return self

    def read(self) -> Reading:
        """Take a sample; joules so far up to it."""
        with self._lock:
            start_s = self._clock.monotonic()
            power_w = sum(self._power(gpu) for gpu in self.gpus)
            read_s = self._clock.monotonic() - start_s
            now_s = start_s + read_s / 2
            self._add(Sample(now_s, power_w))
            if self._is_due(now_s):
                self._observe(now_s)
            return Reading(now_s, self._energy_j, faults=tuple(self._faults), read_s=read_s)

    def _add(self, sample: Sample) -> None:
        if self._samples:
            last = self._samples[-1]
            elapsed_s = sample.time_s - last.time_s
            self._energy_j += elapsed_s * (sample.power_w + last.power_w) / 2
            if elapsed_s > GAP_PERIODS * self.period_s:
                self._faults.append("sampler_gap")
        self._samples.append(sample)

    def _is_due(self, now_s: float) -> bool:
        period_s = TELEMETRY_PERIODS * self.period_s
        return not self._telemetry or now_s - self._telemetry[-1].time_s >= period_s

    def _observe(self, now_s: float) -> None:
        telemetry = self._watch.look(now_s)
        self.unseen = self._watch.hidden
        self._telemetry.append(telemetry)
        self._faults += telemetry.codes()

    def trace(self, start_s: float, end_s: float) -> Trace:
        """What happened between two monotonic times, resampled."""
        with self._lock:
            samples = [s for s in self._samples if start_s <= s.time_s <= end_s]
            telemetry = [t for t in self._telemetry if start_s <= t.time_s <= end_s]
        return resample(samples, telemetry, start_s, end_s, TELEMETRY_PERIODS * self.period_s)

    def close(self) -> None:
        """Stop sampling and let go of NVML."""
        self._closed.set()
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
