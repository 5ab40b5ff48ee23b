"""An engine that computes nothing: where a model would, a clock moves and a bench draws watts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import exp
from typing import ClassVar, Final, cast

from greenbench.engines.engine import Build, Completion, Engine, Footprint, Request, Served
from greenbench.machine.detect import Machine
from greenbench.simulate.drawn_power import Bench

BUSY_W: Final = 420.0
REQUEST_S: Final = 0.9
TOKENS: Final = 64
WEIGHTS: Final = 2_000_000_000


@dataclass(frozen=True)
class Pretended(Engine):
    """Runs nothing."""

    name: ClassVar[str] = "simulated"
    summary: ClassVar[str] = "moves a clock where a model would compute"
    forms: ClassVar = frozenset({"url"})

    def room_bytes(self, build: Build) -> int:
        """None is needed."""
        return 0

    def serve(self, build: Build, machine: Machine) -> AbstractContextManager[Served]:
        """What the build holds."""
        return nullcontext(cast("Served", build.source))


class Model:
    """Answers by moving the clock while the bench draws watts; the lab's weather changes with each window."""

    def __init__(self, bench: Bench, time: float, watts: float) -> None:
        self._bench, self._time, self._watts = bench, time, watts
        self.noise = self.level = self.beside_w = 0.0
        """Of this window and of this loading, of the logarithm of its joules; what the other one draws."""

    def complete(self, batch: Sequence[Request]) -> list[Completion]:
        """All at once. Noise is half one of time and half one of power."""
        tokens, half = batch[0].new_tokens, exp((self.noise + self.level) / 2)
        whole_s = REQUEST_S * self._time * half
        first_s, gap_s = 0.1 * whole_s, 0.9 * whole_s / (TOKENS - 1)
        alone_s = first_s + gap_s * (tokens - 1)
        took_s = self._bench.work(BUSY_W * self._watts * half + self.beside_w, alone_s)
        slower = took_s / alone_s
        stamps = tuple(slower * (first_s + gap_s * place) for place in range(tokens))
        return [Completion(tokens, len(each.tokens), 0.0, stamps, took_s) for each in batch]

    def synchronize(self) -> None:
        """Nothing is pending."""

    def reset_peaks(self) -> None:
        """There is no memory."""

    def device_peak_bytes(self) -> int | None:
        """Not looked at."""
        return None

    def pids(self) -> frozenset[int]:
        """This process."""
        return frozenset()

    def footprint(self) -> Footprint:
        """Of both models alike."""
        return Footprint(WEIGHTS // 2, 32, {"bfloat16": WEIGHTS})
