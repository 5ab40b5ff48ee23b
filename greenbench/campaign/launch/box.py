"""Tasks on the GPUs of this machine, one at a time on each of its shares."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeAlias

from greenbench.campaign.launch.launcher import Ended, Task, ended

Slot: TypeAlias = tuple[str, ...]
"""UUIDs of the GPUs that one task at a time has."""
POLL_S = 0.2
LEAVE_S = 60.0
"""What is told to end ends its servers and gives settings back first."""


class Box:
    """What ``devices`` asks for."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        """There is one at least."""
        self._slots = list(slots)
        each = len(self._slots[0])
        shares = f"{len(slots)} groups of {each} GPUs" if each > 1 else f"{len(slots)} GPUs"
        self.name = f"{shares} of this machine"

    @contextmanager
    def running(self, tasks: Sequence[Task]) -> Iterator[Iterator[Ended]]:
        """As many at once as there are shares."""
        left: dict[subprocess.Popen[bytes], tuple[Task, Slot]] = {}
        try:
            yield self._ended(list(tasks), left)
        finally:
            for process in left:
                process.terminate()
            for process in left:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LEAVE_S)
                process.kill()

    def _ended(
        self, waiting: list[Task], left: dict[subprocess.Popen[bytes], tuple[Task, Slot]]
    ) -> Iterator[Ended]:
        """Each as it ends, and it is left no more."""
        free = list(self._slots)
        while waiting or left:
            while waiting and free:
                task, slot = waiting.pop(0), free.pop(0)
                left[_started(task, slot)] = task, slot
            for process in [each for each in left if each.poll() is not None]:
                task, slot = left.pop(process)
                free.append(slot)
                yield ended(task, process.returncode)
            time.sleep(POLL_S)


def _started(task: Task, slot: Slot) -> subprocess.Popen[bytes]:
    with open(task.log, "ab") as log:
        return subprocess.Popen(
            task.words,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(slot)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
