"""NVIDIA GPUs: NVML's total-energy counter, summed over the GPUs of one run.

The counter (``nvmlDeviceGetTotalEnergyConsumption``, Volta and newer) is in millijoules since the
driver was loaded and covers the GPU with its memory. On Grace Hopper it covers the whole module,
CPU and LPDDR included (https://github.com/ml-energy/zeus/pull/172), and is labelled so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import pynvml

from greenbench.errors import Lost, Unavailable
from greenbench.machine.clock import Clock
from greenbench.machine.gpus import Gpu, open_gpus, optional, power_limits_mw
from greenbench.meters.meter import (
    OVER_LIMIT,
    Meter,
    Part,
    Place,
    Reading,
    Tallies,
    Tally,
    keep_reading,
    look_s,
    probe,
)
from greenbench.schema.quantity import Boundary, Provenance

MJ = 1e-3  # joules per millijoule
IMPLAUSIBLE_W = 5000.0  # no GPU draws this much, nor a module of one with its CPU
_MODULE_NOTE = "On Grace Hopper the counter covers the module: GPU, Grace CPU and their memory."


class NvmlCounter(Meter):
    """Total-energy counters of one or more GPUs, summed. Joules count from the opening.

    Raises Unavailable if a GPU has no counter, or one that does not move, or covers more than
    the others do; :meth:`read` raises Lost when a GPU falls off the bus.
    """

    name = "nvml"
    summary = "NVIDIA GPUs: NVML's energy counter, checked against sampled power"
    covers = frozenset({"gpu"})
    provenance: Provenance = "measured:counter:nvml"

    @classmethod
    def parts(cls, place: Place) -> Sequence[Part]:
        """The counter, and sampled power that checks it or stands in for it."""
        from greenbench.meters.nvml_power import NvmlPower  # which needs this file

        return [
            Part("nvml", lambda: cls(place.uuids).start()),
            Part("nvml_power", lambda: NvmlPower(place.uuids, own=place.own).start(), alone=True),
        ]

    def __init__(self, uuids: Sequence[str], clock: Clock = time) -> None:
        self.gpus = open_gpus(uuids)
        self._clock, self._lock, self._closed = clock, threading.Lock(), threading.Event()
        try:
            _require_known_scope(self.gpus)
            self.boundary: Boundary = common_boundary(self.gpus)
            self.note: str | None = _MODULE_NOTE if self.boundary == "module" else None
            self.tick_s = self._probe()
            now_s = clock.monotonic()
            counters = zip(self._raw(), self.gpus, strict=True)
            self._tallies = Tallies(
                [Tally(n, now_s, MJ, most_w=_most_w(gpu)) for n, gpu in counters]
            )
        except BaseException:
            self.close()
            raise

    def start(self) -> Self:
        """Look at the counter in the background until closed, so that a stop within a window shows."""
        keep_reading(self.read, look_s(self.tick_s), self._closed)
        return self

    def _probe(self) -> float:
        try:
            ticks = probe(self._raw, self._clock)
        except Lost as error:
            raise Unavailable(str(error)) from None
        for gpu, tick_s in zip(self.gpus, ticks, strict=True):
            if tick_s is None:
                raise Unavailable(
                    f"The energy counter of {gpu.uuid} ({gpu.name}) does not move: "
                    f"update the NVIDIA driver or choose another meter."
                )
        return max(tick_s for tick_s in ticks if tick_s is not None)

    def _raw(self) -> list[int]:
        return [_millijoules(gpu) for gpu in self.gpus]

    def read(self) -> Reading:
        """Joules so far over all GPUs, at the middle of the calls that read them."""
        with self._lock:
            return self._tallies.read(self._raw, self._clock, self.tick_s)

    def close(self) -> None:
        """Stop looking and let go of NVML."""
        self._closed.set()
        with self._lock:
            pynvml.nvmlShutdown()


def _require_known_scope(chosen: Sequence[Gpu]) -> None:
    for gpu in chosen:
        if "GB200" in gpu.name or "GB300" in gpu.name:
            raise Unavailable(
                f"It is not documented whether the energy counter of {gpu.name} covers the GPU "
                f"or the module: its sampled power (GPU only) is used instead."
            )


def common_boundary(chosen: Sequence[Gpu]) -> Boundary:
    """The boundary that all counters share. Raises Unavailable if they differ."""
    boundaries = {gpu.boundary for gpu in chosen}
    if len(boundaries) != 1:
        raise Unavailable(
            "The energy counters of these GPUs cover different things (GPU and module), "
            "so that their sum means nothing: use GPUs of one kind."
        )
    return boundaries.pop()


def _most_w(gpu: Gpu) -> float:
    """What it cannot draw: by the highest limit that it can be set to, which a technique may do later."""
    limits = None if gpu.boundary == "module" else optional(lambda: power_limits_mw(gpu))
    return min(IMPLAUSIBLE_W, OVER_LIMIT * MJ * limits[1]) if limits else IMPLAUSIBLE_W


def _millijoules(gpu: Gpu) -> int:
    with lost(gpu):
        return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu.handle))


@contextmanager
def lost(gpu: Gpu) -> Iterator[None]:
    """Turn NVML's errors about `gpu` into Lost."""
    try:
        yield
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        raise Lost(
            f"{gpu.uuid} ({gpu.name}) does not report its energy, as GPUs older than Volta and "
            f"many virtual ones do not: choose another meter."
        ) from None
    except pynvml.NVMLError as error:
        raise Lost(
            f"NVML lost {gpu.uuid} ({gpu.name}): {error}; look for Xid errors in dmesg and reset "
            f"the GPU or reboot."
        ) from None
