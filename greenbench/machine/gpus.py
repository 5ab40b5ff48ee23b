"""NVIDIA GPUs as NVML knows them: found by UUID, refused where shared."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import pynvml

from greenbench.errors import Unavailable, Unsupported
from greenbench.schema.quantity import Boundary

Told = TypeVar("Told")


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


def _told(query: Callable[[], Told]) -> Told | None:
    """What `query` answers while NVML runs; null where that does not start, or does not tell."""
    try:
        start()
    except Unavailable:
        return None
    try:
        return query()
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def compute_processes(gpu: Any) -> dict[int, Any]:
    """By pid, all that compute on `gpu`, a handle of NVML's, or hold a context there; clients of a server of
    NVIDIA's Multi-Process Service (MPS) too, which NVML lists by a call of their own."""
    alone = pynvml.nvmlDeviceGetComputeRunningProcesses(gpu)
    return {process.pid: process for process in (*(_mps_processes(gpu) or ()), *alone)}


def mps_clients(gpu: Any) -> set[int] | None:
    """Those that compute on `gpu` through an MPS server; null where the driver does not tell."""
    served = _mps_processes(gpu)
    return None if served is None else {process.pid for process in served}


def _mps_processes(gpu: Any) -> list[Any] | None:
    return optional(partial(pynvml.nvmlDeviceGetMPSComputeRunningProcesses, gpu))  # type: ignore[no-any-return]


def memory_of(pids: Container[int]) -> int | None:
    """Bytes that these processes hold on all GPUs by now; null where NVML does not tell."""
    running = _told(
        lambda: [process for gpu in gpus() for process in compute_processes(gpu.handle).values()]
    )
    held = [process.usedGpuMemory for process in running or () if process.pid in pids]
    return sum(held) if held and None not in held else None


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


def whole_gpus() -> dict[str, str]:
    """Name by UUID of the GPUs that CUDA would see, but of slices and virtual ones. Raises Unavailable."""
    start()
    try:
        seen = _visible(os.environ.get("CUDA_VISIBLE_DEVICES"), gpus())
        return {gpu.uuid: gpu.name for gpu in seen if not _is_shared(gpu)}
    except pynvml.NVMLError as error:
        raise Unavailable(f"NVML does not tell its GPUs ({error}).") from None
    finally:
        pynvml.nvmlShutdown()


def _is_shared(gpu: Gpu) -> bool:
    try:
        _refuse_shared(gpu)
    except Unavailable:
        return True
    return False


def all_uuids() -> list[str]:
    """Of every GPU that NVML shows, visible to CUDA or not; none where it does not tell."""
    return _told(lambda: [gpu.uuid for gpu in gpus()]) or []


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


def power_limits_mw(gpu: Gpu) -> tuple[int, int, int]:
    """Milliwatts: the least and the most that can be set, and the default."""
    low, high = pynvml.nvmlDeviceGetPowerManagementLimitConstraints(gpu.handle)
    return low, high, int(pynvml.nvmlDeviceGetPowerManagementDefaultLimit(gpu.handle))


def most_w(uuids: Sequence[str]) -> float | None:
    """Watts that these GPUs may draw together by the limits that are set; null where NVML does not tell."""
    limits = _told(
        lambda: [
            pynvml.nvmlDeviceGetPowerManagementLimit(pynvml.nvmlDeviceGetHandleByUUID(uuid))
            for uuid in uuids
        ]
    )
    return sum(limits) / 1000 if limits else None


def clock_limits_mhz(gpu: Gpu) -> tuple[int, int]:
    """Megahertz of the SM clock: the least and the most."""
    highest = int(pynvml.nvmlDeviceGetMaxClockInfo(gpu.handle, pynvml.NVML_CLOCK_SM))
    states = pynvml.NVML_CLOCK_SM, pynvml.NVML_PSTATE_0
    told = optional(lambda: pynvml.nvmlDeviceGetMinMaxClockOfPState(gpu.handle, *states))
    return told[0] if told else 1, highest  # drivers before 515 do not say


@contextmanager
def opened(uuids: Sequence[str]) -> Iterator[list[Gpu]]:
    """The GPUs, to ask what they allow. Raises Unsupported where NVML does not tell them."""
    try:
        gpus = open_gpus(uuids)
    except Unavailable as reason:
        raise Unsupported(str(reason)) from None
    try:
        yield gpus
    finally:
        pynvml.nvmlShutdown()
