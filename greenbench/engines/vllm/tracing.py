"""A server of vLLM that torch's profiler looks into: a trace of each worker, from when it is asked for one.

Until then nothing is profiled: vLLM makes a worker's profiler at its first ``/start_profile``, and the
configuration enters no compiled graph (``vllm/v1/worker/gpu_worker.py``, ``vllm/config/profiler.py``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from greenbench.engines import timeline
from greenbench.engines.engine import Request
from greenbench.engines.serving import chrome_trace
from greenbench.engines.serving.chrome_trace import Process
from greenbench.engines.serving.client import Client
from greenbench.engines.serving.served import Body, FromServer
from greenbench.engines.timeline import Spent
from greenbench.engines.vllm import environment
from greenbench.errors import Unavailable
from greenbench.machine import scheduling
from greenbench.machine.scheduling import Scheduled
from greenbench.schema.profile import Trace

if TYPE_CHECKING:
    from greenbench.engines.serving.scoring import Scorer

TRACES = "*.pt.trace.json*"
START, STOP = "/start_profile", "/stop_profile"


def option(folder: Path) -> dict[str, object]:
    """What the server's command line says, so that it can leave traces in `folder`: those of its workers,
    as the front end computes nothing."""
    return {
        "profiler": "torch",
        "torch_profiler_dir": str(folder),
        "torch_profiler_record_shapes": True,
        "torch_profiler_with_stack": False,
        "ignore_frontend": True,
    }


class Traced(FromServer):
    """It, where it was started with a folder for traces."""

    def __init__(
        self,
        client: Client,
        scorer: Callable[[Client], Scorer],
        body: Body,
        folder: Path | None = None,
        *,
        on_gpu: bool = False,
    ) -> None:
        super().__init__(client, scorer, body)
        self._folder, self._on_gpu = folder, on_gpu
        torch = (environment.version("torch") or "").partition("+")[0]
        own = environment.version(*environment.PACKAGES.values())
        self.tool = f"torch.profiler {torch} in vLLM {own}"

    def traced(self, batch: Sequence[Request]) -> Trace:
        """What its workers spend a batch in: of one of them, in the mean."""
        if self._folder is None:
            raise Unavailable("vLLM's server was not told at its start to leave traces")
        plain = self._spent(batch)
        self._client.tell(START)
        try:
            longer = self._spent(batch)
        finally:
            self._client.tell(STOP)
        files = sorted(self._folder.glob(TRACES))
        try:
            workers = [chrome_trace.read(file) for file in files]
        finally:
            for file in files:
                file.unlink()
        if not workers:
            raise Unavailable("vLLM's server left no trace")
        return traced(workers, plain, longer, on_gpu=self._on_gpu)

    def _spent(self, batch: Sequence[Request]) -> Watched:
        before, begun_s = scheduling.of_threads(self.pids() or ()), time.perf_counter()
        self.complete(batch)
        wall_s = time.perf_counter() - begun_s
        return Watched(wall_s, _between(before, scheduling.of_threads(self.pids() or ())))


class Watched(NamedTuple):
    """How the server's threads spent one batch."""

    wall_s: float
    """As the client sees it."""
    threads: Mapping[tuple[int, int], Scheduled]
    """By process and thread."""

    def of(self, pid: int, thread: int) -> Spent:
        """Of one of them; it ran all the time where the system does not say."""
        if (own := self.threads.get((pid, thread))) is None:
            return Spent(self.wall_s, self.wall_s, 0.0, 0.0)
        beside = [each.ran_s for at, each in self.threads.items() if at[0] == pid]
        ran_s = min(own.ran_s, max(0.0, self.wall_s - own.queued_s))
        return Spent(self.wall_s, ran_s, own.queued_s, max(0.0, sum(beside) - own.ran_s))


def traced(workers: Sequence[Process], plain: Watched, longer: Watched, *, on_gpu: bool) -> Trace:
    """Of `workers`, which answered a batch once as always and once under the profiler.

    Raises Unavailable where what ran is not seen.
    """
    found = []
    for pid, events in workers:
        mine = timeline.busiest(events)
        if not mine:
            raise Unavailable(f"the trace of vLLM's worker {pid} is empty")
        sides = (each.of(pid, mine[0].thread) for each in (plain, longer))
        found.append(timeline.trace(events, *sides, on_gpu=on_gpu))
    return timeline.mean(found)


def _between(
    before: Mapping[tuple[int, int], Scheduled], after: Mapping[tuple[int, int], Scheduled]
) -> dict[tuple[int, int], Scheduled]:
    """What each thread did from the one to the other."""
    none = Scheduled(0.0, 0.0)
    return {
        at: Scheduled(
            *(late - early for late, early in zip(each, before.get(at, none), strict=True))
        )
        for at, each in after.items()
    }
