"""A GPU that is there and that torch cannot use: said before a run, lest the CPU be measured in its place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pynvml

from greenbench.errors import Unavailable, Unsupported
from greenbench.machine.gpus import gpus, optional, start

LEAST_DRIVER = {11: 450, 12: 525, 13: 580}
"""By the major version of CUDA (its release notes, table 3: minor version compatibility)."""
NODES = Path("/dev")
CPU = "or say device=cpu (make DEVICE=cpu) to measure the CPU"


class _Seen(NamedTuple):
    name: str
    """With its compute capability, where NVML tells that."""
    driver: str | None


def unused(torch_version: str, build: str | None) -> str | None:
    """Why no GPU is used though one is there, with the remedy; null: none is, or it is hidden on purpose.

    `build` is the version of CUDA that torch was built for; null: none. Presumes that torch sees no GPU.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return None
    seen = _seen()
    if seen is None:
        return None
    here = f"{seen.name} is here, and torch {torch_version} cannot use it"
    if build is None:
        return f"{here}: it is a build without CUDA; install the CUDA build of torch, {CPU}."
    least = LEAST_DRIVER.get(int(build.partition(".")[0]))
    if seen.driver is None:
        return f"{here}, as the driver does not answer: check it with nvidia-smi, {CPU}."
    if least is not None and int(seen.driver.partition(".")[0]) < least:
        return (
            f"{here}: it is built for CUDA {build}, which needs a driver of {least} or newer, and the driver "
            f"is {seen.driver}; update the driver, {_older(seen.driver)}{CPU}."
        )
    return (
        f"{here}, though the driver ({seen.driver}) is new enough for CUDA {build}: check nvidia-smi, "
        f"CUDA_VISIBLE_DEVICES and what the container may see, {CPU}."
    )


def _older(driver: str) -> str:
    """The build of an earlier CUDA that `make setup` knows, where the driver is new enough for that."""
    enough = int(driver.partition(".")[0]) >= LEAST_DRIVER[12]
    return "take an earlier build (make setup TORCH=cu128), " if enough else ""


def require_kernels(name: str, capability: tuple[int, int], built_for: Sequence[str]) -> None:
    """Raise Unsupported for a GPU older than all that torch has kernels for, as ``sm_75``."""
    known = [int(each.removeprefix("sm_").rstrip("af")) for each in built_for if each[:3] == "sm_"]
    if known and 10 * capability[0] + capability[1] < min(known):
        raise Unsupported(
            f"{name} has compute capability {capability[0]}.{capability[1]}, and this torch has kernels for "
            f"{min(known) // 10}.{min(known) % 10} and newer: take the build for CUDA 12.6, which has "
            f"older ones (make setup TORCH=cu126 TORCH_INDEX=URL, the index that pytorch.org names), {CPU}."
        )


def _seen() -> _Seen | None:
    """The first GPU that NVML knows, or that the kernel's driver shows where NVML tells of none."""
    nodes = [each for each in NODES.glob("nvidia*") if each.name[6:].isdigit()]
    unnamed = _Seen("An NVIDIA GPU", None) if nodes else None
    try:
        start()
    except Unavailable:
        return unnamed
    try:
        found = gpus()
        if not found:  # as one that has fallen off the bus
            return unnamed
        told = optional(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(found[0].handle))
        capability = f" (compute capability {told[0]}.{told[1]})" if told else ""
        return _Seen(f"{found[0].name}{capability}", str(pynvml.nvmlSystemGetDriverVersion()))
    except pynvml.NVMLError:
        return unnamed
    finally:
        pynvml.nvmlShutdown()
