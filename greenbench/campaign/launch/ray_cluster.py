"""Tasks on a Ray cluster, an existing one or one of this machine, one Ray task each."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from greenbench.campaign.invocation import LauncherSpec
from greenbench.campaign.launch.launcher import Call, Ended, Task, ended
from greenbench.errors import Unsupported, UserError

POLL_S = 2.0


class Ray:
    """What ``launcher=ray`` asks for."""

    name = "ray"

    def __init__(self, spec: LauncherSpec, gpus: int) -> None:
        """Raises Unsupported where Ray is not installed."""
        try:
            import ray
        except ImportError as error:
            raise Unsupported(
                "launcher=ray needs the package ray: pip install 'greenbench[ray]'"
            ) from error
        self._ray, self._spec, self._gpus = ray, spec, gpus

    @contextmanager
    def running(self, tasks: Sequence[Task]) -> Iterator[Iterator[Ended]]:
        """Within a connection of this process to the cluster. Raises UserError where it is not there."""
        ray, spec = self._ray, self._spec
        try:
            ray.init(
                address=spec.address or "local", logging_level=logging.ERROR, log_to_driver=False,
                include_dashboard=False if spec.address is None else None,
            )  # fmt: skip
        except (ConnectionError, ValueError, RuntimeError) as error:
            told = " ".join(str(error).split())
            raise UserError(
                f"No Ray cluster answers at launcher.address={spec.address} ({told}): start one with "
                "`ray start --head`, set RAY_AUTH_MODE=token where it asks for a token, or leave the address "
                "out for one of this machine."
            ) from error
        left: dict[Any, Task] = {}
        try:
            self._require_room()
            yield self._ended(list(tasks), left)
        finally:
            for reference in left:
                with suppress(Exception):  # it may be gone, and the cluster with it
                    ray.cancel(reference, force=True)
            ray.shutdown()

    def _asked(self) -> dict[str, float]:
        """What one task takes of the cluster."""
        spec = self._spec
        memory = None if spec.memory_gb is None else int(spec.memory_gb * 2**30)
        asked = {"num_cpus": spec.cpus or 1, "num_gpus": self._gpus, "memory": memory}
        return {name: value for name, value in asked.items() if value}

    def _require_room(self) -> None:
        """Raise UserError for what no machine of the cluster will ever have: Ray would wait for it."""
        names = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}
        nodes = [each["Resources"] for each in self._ray.nodes() if each["Alive"]]
        asked = {names[name]: value for name, value in self._asked().items()}
        if not any(all(node.get(n, 0) >= value for n, value in asked.items()) for node in nodes):
            told = ", ".join(f"{value:g} of {name}" for name, value in asked.items())
            raise UserError(
                f"No machine of the Ray cluster has {told}: ask for less with launcher.gpus, launcher.cpus "
                "and launcher.memory_gb."
            )

    def _ended(self, waiting: list[Task], left: dict[Any, Task]) -> Iterator[Ended]:
        """Each as it ends; as many at once as are asked for."""
        call = self._ray.remote(_call).options(max_retries=0, **self._asked())
        most = self._spec.at_once or len(waiting)
        while waiting or left:
            while waiting and len(left) < most:
                task = waiting.pop(0)
                left[call.remote(Call(task.words, str(task.log)))] = task
            done, _ = self._ray.wait(list(left), num_returns=1, timeout=POLL_S)
            for reference in done:
                yield self._answer(left.pop(reference), reference)

    def _answer(self, task: Task, reference: Any) -> Ended:
        try:
            status = self._ray.get(reference)
        except self._ray.exceptions.TaskCancelledError:
            return Ended(task, "cancelled", "it was cancelled")
        except Exception as error:  # of a machine or a worker that died, as Ray tells it
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return Ended(task, "lost", lines[0])
        return ended(task, status)


def _call(call: Call) -> int:
    return call()
