"""AMD GPUs, Apple silicon and NVIDIA Jetson, through Zeus (https://ml.energy/zeus, Apache-2.0).

An optional extra: ``pip install 'greenbench[zeus]'``, for Zeus 0.16 or newer. What is read:

- **AMD**: ``get_total_energy_consumption`` of Zeus' GPUs, amd-smi's energy counter of the socket.
  Zeus compares it with the reported power first and refuses a GPU where they disagree. On an
  MI250 the counter of an even index covers both of the card's dies.
- **Apple**: the cumulative ``cpu_total_mj`` and, as a meter of its own, ``dram_mj``. A run on the
  CPU uses neither the GPU nor the neural engine, so their joules are left out.
- **Jetson**: ``total_energy_mj``, the input rail of the whole module, which a process of Zeus
  integrates from power read every 0.1 s. The CPU and GPU rails are not used, because some boards
  share one rail between both and Zeus files it under the CPU.
- **NVIDIA**: NVML's counter as Zeus finds it, a check of our device mapping and not of the sensor.

The run's GPUs must be the first that torch sees. Not verified on AMD, Apple and Jetson hardware:
names and units were checked against Zeus 0.16.0, and its NVIDIA path was run on a fake NVML.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty
from typing import Any, NamedTuple, Self

from greenbench.errors import Lost, Unavailable
from greenbench.machine.clock import Clock
from greenbench.machine.gpus import open_gpus
from greenbench.meters import zeus_power
from greenbench.meters.meter import (
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
from greenbench.meters.nvml_counter import common_boundary
from greenbench.schema.quantity import Boundary, Provenance

IMPLAUSIBLE_W = 5000.0  # no device that Zeus counts draws this much
UJ = 1e-6  # joules per microjoule: Zeus' millijoules may be fractions, our counts are whole
JETSON_TICK_S = 0.1  # an isolated reading is up to this old, which a probe's own reads hide
REMEDY = "pip install 'greenbench[zeus]'"


class Source(NamedTuple):
    """Something of Zeus that counts millijoules."""

    boundary: Boundary
    provenance: Provenance
    millijoules: Callable[[], Sequence[float]]
    """One cumulative value for each device."""
    close: Callable[[], None]
    least_tick_s: float = 0.0
    note: str | None = None


class ZeusMeter(Meter):
    """Joules that Zeus counts, for the run's device or (`dram`) for its memory.

    Raises Unavailable without Zeus, or where Zeus finds no counter for a run on the GPUs `uuids`
    (none: the CPU); :meth:`read` raises Lost when the counter no longer answers.
    """

    name = "zeus"
    summary = (
        "AMD GPUs, Apple silicon and Jetson: what Zeus counts (pip install 'greenbench[zeus]')"
    )

    @classmethod
    def parts(cls, place: Place) -> Sequence[Part]:
        """The device's joules; of GPUs their power beside it, of a CPU the memory's."""
        counter = Part("zeus", lambda: cls(place.uuids).start())
        if place.uuids:
            return [counter, Part("zeus_power", lambda: zeus_power.found(place.uuids).start())]
        return [counter, Part("zeus_dram", lambda: cls(place.uuids, dram=True).start())]

    def __init__(self, uuids: Sequence[str], *, dram: bool = False, clock: Clock = time) -> None:
        self.name = "zeus_dram" if dram else "zeus"
        source = _open(uuids, dram)
        self._source, self._clock = source, clock
        self._lock, self._closed = threading.Lock(), threading.Event()
        self.boundary, self.provenance, self.note = (
            source.boundary,
            source.provenance,
            source.note,
        )
        try:
            self.tick_s = max(self._probe(), source.least_tick_s)
            now_s = clock.monotonic()
            self._tallies = Tallies(
                [Tally(raw, now_s, UJ, most_w=IMPLAUSIBLE_W) for raw in self._raw()]
            )
        except Lost as error:
            self.close()
            raise Unavailable(str(error)) from None
        except BaseException:
            self.close()
            raise

    def start(self) -> Self:
        """Look in the background until closed, so that a stop within a window shows."""
        keep_reading(self.read, look_s(self.tick_s), self._closed)
        return self

    def _probe(self) -> float:
        ticks = probe(self._raw, self._clock)
        if None in ticks:
            raise Unavailable(
                "An energy counter that Zeus found does not move: update the device's driver or "
                "choose another meter."
            )
        return max(tick_s for tick_s in ticks if tick_s is not None)

    def _raw(self) -> list[int]:
        from zeus.exception import ZeusBaseError

        try:
            return [round(mj * 1000) for mj in self._source.millijoules()]
        except (ZeusBaseError, Empty, OSError, RuntimeError) as error:
            raise Lost(
                f"Zeus can no longer read its energy counter ({type(error).__name__}: {error})."
            ) from None

    def read(self) -> Reading:
        """Joules so far over all devices, at the middle of the calls that read them."""
        with self._lock:
            return self._tallies.read(self._raw, self._clock, self.tick_s)

    def close(self) -> None:
        """Stop looking, and what Zeus runs in the background."""
        self._closed.set()
        with self._lock:
            self._source.close()


def _open(uuids: Sequence[str], dram: bool) -> Source:
    try:
        from zeus.device.soc.apple import AppleSilicon, apple_silicon_is_available
        from zeus.device.soc.jetson import Jetson, jetson_is_available
        from zeus.exception import ZeusBaseError
    except ImportError:
        raise Unavailable(
            f"Zeus 0.16 or newer, which reads AMD, Apple and Jetson counters, is not installed: "
            f"{REMEDY}."
        ) from None
    try:
        if apple_silicon_is_available():
            return apple(AppleSilicon(), dram)
        if dram:
            raise Unavailable("Zeus counts the memory's joules on Apple silicon only.")
        if jetson_is_available():
            return jetson(Jetson())
        return _gpus(uuids)
    except ZeusBaseError as error:
        raise Unavailable(f"Zeus finds no energy counter here: {error}") from None


def apple(soc: Any, dram: bool) -> Source:
    """The CPU's or the memory's joules of a Zeus ``AppleSilicon``."""
    field = "dram_mj" if dram else "cpu_total_mj"
    _require(soc, field)
    return Source(
        boundary="dram" if dram else "cpu_package",
        provenance="measured:counter:zeus",
        millijoules=lambda: [getattr(soc.get_total_energy_consumption(), field)],
        close=lambda: None,
    )


def jetson(soc: Any) -> Source:
    """The whole module's joules of a Zeus ``Jetson``, whose polling process this ends."""

    def close() -> None:
        soc.process.kill()
        soc.process.join()

    try:
        _require(soc, "total_energy_mj")
    except BaseException:
        close()
        raise
    return Source(
        boundary="module",
        provenance="measured:integrated:zeus",
        millijoules=lambda: [soc.get_total_energy_consumption().total_energy_mj],
        close=close,
        least_tick_s=JETSON_TICK_S,
        note=f"The module's input rail, integrated from power read every {JETSON_TICK_S:g} s.",
    )


def _require(soc: Any, field: str) -> None:
    if field not in soc.get_available_metrics():
        raise Unavailable(
            f"Zeus reads no {field} on this {type(soc).__name__}: choose another meter."
        )


def _gpus(uuids: Sequence[str]) -> Source:
    from zeus.device import get_gpus
    from zeus.device.gpu import NVIDIAGPUs

    if not uuids:
        raise Unavailable("Zeus counts CPUs on Apple silicon and Jetson only: use rapl here.")
    found = get_gpus()
    if len(found) < len(uuids):
        raise Unavailable(
            f"Zeus finds {len(found)} GPUs and the run uses {len(uuids)}: check "
            f"HIP_VISIBLE_DEVICES and CUDA_VISIBLE_DEVICES."
        )
    return nvidia(found, uuids) if isinstance(found, NVIDIAGPUs) else amd(found, len(uuids))


def amd(gpus: Any, count: int) -> Source:
    """The first `count` of Zeus' AMD GPUs."""
    names = [gpus.get_name(index) for index in range(count)]
    if any("MI300A" in name for name in names):
        raise Unavailable(
            "It is not documented whether the energy counter of an MI300A covers its CPU cores: "
            "choose another meter."
        )
    both = "On an MI250 the counter covers both dies of the card, whichever of them works."
    return _counters(gpus, names, "gpu", both if any("MI250" in name for name in names) else None)


def nvidia(gpus: Any, uuids: Sequence[str]) -> Source:
    """Zeus' NVIDIA GPUs, refused wherever NVML's own meter would be."""
    import pynvml

    boundary = common_boundary(open_gpus(uuids))
    pynvml.nvmlShutdown()
    names = [gpus.get_name(index) for index in range(len(uuids))]
    same = "Zeus reads the counter that the meter nvml reads: no independent measurement."
    return _counters(gpus, names, boundary, same)


def _counters(gpus: Any, names: Sequence[str], boundary: Boundary, note: str | None) -> Source:
    for index, name in enumerate(names):
        if not gpus.supports_get_total_energy_consumption(index):
            raise Unavailable(
                f"Zeus finds no trustworthy energy counter on GPU {index} ({name}): choose "
                f"another meter."
            )
    return Source(
        boundary=boundary,
        provenance="measured:counter:zeus",
        millijoules=lambda: [gpus.get_total_energy_consumption(i) for i in range(len(names))],
        close=lambda: None,
        note=note,
    )
