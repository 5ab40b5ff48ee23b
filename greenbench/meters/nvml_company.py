"""Who else computes on a GPU while it is metered."""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

import psutil
import pynvml

from greenbench.machine.gpus import compute_processes, mps_clients
from greenbench.machine.processes import OwnProcesses

NONE_BUSY = {pynvml.NVML_ERROR_NOT_FOUND, pynvml.NVML_SUCCESS}
"""No process has run a kernel; pynvml takes a success without samples for an error."""
NOT_TOLD = {
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_NO_PERMISSION,
}
RECENT_S = 1.0
"""What a process did longer before the first look is not of this moment."""
MPS_SERVER = "nvidia-cuda-mps"
"""How the program begins by which NVIDIA's Multi-Process Service shares a GPU among its clients."""
HIDDEN: Final = (
    "Whether other processes computed on the GPU was not looked at: the driver's list of processes "
    "never showed this run's own, as where it hides them from a container."
)


class Others(NamedTuple):
    """Processes on a GPU that are not the run's."""

    computing: int
    resting: int
    """They only hold a context."""


class Company:
    """Others on one GPU, from look to look: the driver samples in between who computes."""

    def __init__(self, gpu: Any, own: OwnProcesses) -> None:
        """`gpu` is a handle of NVML's; `own` processes are no company."""
        self._gpu, self._own = gpu, own
        self._ours: set[int] = set()
        self._since_us = int(1e6 * (time.time() - RECENT_S))
        self.is_list = False
        """Whether the driver's list has ever shown a process of the run's: one that does not is none."""

    def look(self) -> Others:
        """Those that compute now, or have since the last look and are gone, and those that rest.

        In a container NVML may give the host's numbers, none of which are ours or of anybody here: then
        one process is taken for the run's, and one for each that an engine has named. An MPS server without
        clients computes nothing, and one whose clients are all ours computes for the run; what one computes
        for others too cannot be told apart. Raises NVMLError where the driver does not list processes.
        """
        listed = set(compute_processes(self._gpu))
        if not listed <= self._own.pids:
            self._own.refresh()  # a child may have been born since the window began
        own, clients = self._own.pids, mps_clients(self._gpu)
        known = listed & own
        servers = set(filter(_is_mps_server, listed - known))
        pids = listed - servers if clients and clients <= own else listed
        nowhere = [pid for pid in pids - known if not psutil.pid_exists(pid)]
        taken = 0 if known else min(len(nowhere), 1 + len(self._own.named))
        others = len(pids) - len(known) - taken
        self.is_list |= bool(known or taken)
        self._ours |= own if others else own | listed
        busy = self._busy()
        if busy is None:
            computing = others - (0 if clients or clients is None else min(others, len(servers)))
            return Others(computing, others - computing)
        computing = min(others, max(0, len((pids - known) & busy) - taken))
        gone = busy - listed - self._ours if self.is_list else set()
        return Others(computing + len(gone), others - computing)

    def _busy(self) -> set[int] | None:
        """Processes that have run a kernel since the last look; None where the driver does not tell them."""
        try:
            samples = pynvml.nvmlDeviceGetProcessUtilization(self._gpu, self._since_us)
        except pynvml.NVMLError as error:
            if error.value in NONE_BUSY:
                return set()
            if error.value in NOT_TOLD:
                return None
            raise
        self._since_us = max([self._since_us, *(sample.timeStamp for sample in samples)])
        return {sample.pid for sample in samples if sample.smUtil}


def _is_mps_server(pid: int) -> bool:
    try:
        return psutil.Process(pid).name().startswith(MPS_SERVER)
    except psutil.Error:
        return False
