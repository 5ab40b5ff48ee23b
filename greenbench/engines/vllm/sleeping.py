"""A server of vLLM that sleeps: its weights go to the host's memory, its keys and values are dropped."""

from __future__ import annotations

from greenbench.engines.vllm.tracing import Traced
from greenbench.errors import EngineFault


class Sleeping(Traced):
    """As https://docs.vllm.ai/en/stable/features/sleep_mode/ has it, at level 1."""

    def sleep(self) -> None:
        """Give the GPU's memory back, and return once that is done."""
        self._turn("/sleep?level=1", asleep=True)

    def wake(self) -> None:
        """Take it again, and return once it can answer."""
        self._turn("/wake_up", asleep=False)

    def _turn(self, path: str, *, asleep: bool) -> None:
        self._client.ask([(path, {})])
        if self._client.get("/is_sleeping").get("is_sleeping") is not asleep:
            raise EngineFault(
                f"The server of engine=vllm was told to {'sleep' if asleep else 'wake'} and did not: say "
                "protocol.design=interleaved where both models fit, or see its log."
            )
