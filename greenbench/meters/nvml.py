"""NVIDIA GPUs: NVML's total-energy counter, summed over the GPUs of one run.

The counter (``nvmlDeviceGetTotalEnergyConsumption``, Volta and newer) is in millijoules since the
driver was loaded and covers the GPU with its memory. On Grace Hopper it covers the whole module,
CPU and LPDDR included (https://github.com/ml-energy/zeus/pull/172), and is labelled so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pynvml

from greenbench.meters.counter import Clock, Lost, Reading, Tallies, Tally, Unavailable, probe
from greenbench.quantities import Boundary, Provenance

MJ = 1e-3  # joules per millijoule
_MODULE_NOTE = "On Grace Hopper the counter covers the module: GPU, Grace CPU and their memory."


class Gpu(NamedTuple):
    """One GPU as NVML knows it."""

    uuid: str
    name: str
    handle: Any

    @property
    def boundary(self) -> Boundary:
        """What its energy counter covers."""
        return "module" if "GH200" in self.name else "gpu"


def start() -> None:
    """Initialize NVML; every call needs its own ``pynvml.nvmlShutdown``. Raises Unavailable."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        raise Unavailable(
            "NVML's library libnvidia-ml.so.1 is not on this machine: "
            "install the NVIDIA driver or choose another meter."
        ) from None
    except pynvml.NVMLError as error:
        raise Unavailable(
            f"NVML does not start ({error}): check the NVIDIA driver with nvidia-smi."
        ) from None


def gpus() -> list[Gpu]:
    """Every GPU that this user may read, in NVML's (PCI bus) order; NVML must have started."""
    found = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
        except pynvml.NVMLError:
            continue  # lost, or outside this container: absent is what it is for a run
        found.append(Gpu(uuid, name, handle))
    return found


def open_gpus(uuids: Sequence[str]) -> list[Gpu]:
    """Start NVML and find the GPUs with these UUIDs (with or without ``GPU-``, or a prefix).

    Raises Unavailable for a UUID that is unknown or ambiguous, and for MIG and vGPU, whose
    joules NVML cannot tell from their neighbours'.
    """
    start()
    try:
        known = gpus()
        chosen = {gpu.uuid: gpu for gpu in (_match(uuid, known) for uuid in uuids)}
        for gpu in chosen.values():
            _refuse_shared(gpu)
    except BaseException:
        pynvml.nvmlShutdown()
        raise
    return list(chosen.values())


def _match(uuid: str, known: Sequence[Gpu]) -> Gpu:
    wanted = uuid.lower().removeprefix("gpu-")
    matches = [gpu for gpu in known if gpu.uuid.lower().removeprefix("gpu-").startswith(wanted)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise Unavailable(f"UUID {uuid} fits {len(matches)} GPUs: give more of its digits.")
    if _is_mig(uuid):
        raise Unavailable(_mig_sentence(uuid))
    raise Unavailable(
        f"NVML knows no GPU {uuid}: check that CUDA_VISIBLE_DEVICES and the container "
        f"expose the same GPUs that nvidia-smi -L lists."
    )


def _is_mig(uuid: str) -> bool:
    if uuid.upper().startswith("MIG-"):
        return True
    try:
        pynvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")
    except pynvml.NVMLError:
        return False
    return True


def _mig_sentence(uuid: str) -> str:
    return (
        f"{uuid} is in MIG mode, where NVML counts the joules of the whole GPU and not of one "
        f"slice: turn MIG off (nvidia-smi -mig 0) or choose another meter."
    )


def _refuse_shared(gpu: Gpu) -> None:
    if (
        optional(lambda: pynvml.nvmlDeviceGetMigMode(gpu.handle)[0])
        == pynvml.NVML_DEVICE_MIG_ENABLE
    ):
        raise Unavailable(_mig_sentence(gpu.uuid))
    mode = optional(lambda: pynvml.nvmlDeviceGetVirtualizationMode(gpu.handle))
    if mode == pynvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU:
        raise Unavailable(
            f"{gpu.uuid} is a vGPU, whose joules NVML cannot tell from those of the GPU's other "
            f"guests: run on a passed-through or bare-metal GPU."
        )


def optional(query: Callable[[], Any]) -> Any:
    """What `query` answers, or None where NVML cannot."""
    try:
        return query()
    except pynvml.NVMLError:
        return None


def visible_uuids(visible: str | None = None) -> list[str]:
    """NVML UUIDs of the GPUs that CUDA would see, without starting CUDA.

    `visible` is a CUDA_VISIBLE_DEVICES text, by default this process's own: unset is all, empty
    is none, else indices, UUIDs or prefixes of UUIDs up to the first that is not valid, as CUDA
    reads them. Raises Unavailable for MIG, and for indices on unlike GPUs, whose CUDA order
    (fastest first) is NVML's only with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    text = os.environ.get("CUDA_VISIBLE_DEVICES") if visible is None else visible
    start()
    try:
        return [gpu.uuid for gpu in _visible(text, gpus())]
    finally:
        pynvml.nvmlShutdown()


def _visible(text: str | None, known: Sequence[Gpu]) -> list[Gpu]:
    if text is None:
        return list(known)
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in text.split(",")):
        if entry.upper().startswith("MIG-"):
            raise Unavailable(_mig_sentence(entry))
        if entry.isdigit():
            _require_order(known)
            matches = list(known[int(entry) : int(entry) + 1])
        else:
            matches = [gpu for gpu in known if entry and gpu.uuid.startswith(entry)]
        if len(matches) != 1 or matches[0] in chosen:
            break
        chosen += matches
    return chosen


def _require_order(known: Sequence[Gpu]) -> None:
    in_pci_order = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if not in_pci_order and len({gpu.name for gpu in known}) > 1:
        raise Unavailable(
            "The GPUs differ and CUDA_VISIBLE_DEVICES has indices, which CUDA counts fastest "
            "first and NVML by bus: set CUDA_DEVICE_ORDER=PCI_BUS_ID or give UUIDs."
        )


class NvmlCounter:
    """Total-energy counters of one or more GPUs, summed. Joules count from the opening.

    Raises Unavailable if a GPU has no counter, or one that does not move, or covers more than
    the others do; :meth:`read` raises Lost when a GPU falls off the bus.
    """

    name = "nvml"
    provenance: Provenance = "measured:counter:nvml"

    def __init__(self, uuids: Sequence[str], clock: Clock = time) -> None:
        self.gpus = open_gpus(uuids)
        self._clock = clock
        try:
            _require_known_scope(self.gpus)
            self.boundary: Boundary = common_boundary(self.gpus)
            self.note: str | None = _MODULE_NOTE if self.boundary == "module" else None
            self.tick_s = self._probe()
            now_s = clock.monotonic()
            self._tallies = Tallies([Tally(raw, now_s, MJ) for raw in self._raw()])
        except BaseException:
            self.close()
            raise

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
        start_s = self._clock.monotonic()
        values = self._raw()
        now_s = (start_s + self._clock.monotonic()) / 2
        return self._tallies.advance(values, now_s, self.tick_s)

    def close(self) -> None:
        """Let go of NVML."""
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
