"""The two models of a run: both served, or in turn where the device cannot hold both."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import MappingProxyType, TracebackType
from typing import Self, cast

from greenbench.engines.engine import Build, Footprint, Served, Sleeper
from greenbench.schema.enums import Design
from greenbench.schema.window import WHO, Who

ROOM = 1.3  # a second model needs its weights again, and this much more for what it computes
Serve = Callable[[Who, Build], AbstractContextManager[Served]]
"""The `serve` of the engine that runs this model, on the run's machine."""


def apart_reason(
    design: Design, free_bytes: int, first_bytes: int, second_bytes: int
) -> str | None:
    """Why two models of so many bytes are to be measured in turn; null: together.

    `free_bytes` are the device's with neither of the two loaded.
    """
    if design is Design.interleaved:
        return None
    if design is Design.sequential:
        return "protocol.design=sequential asks for it"
    beside = free_bytes - first_bytes
    if beside >= ROOM * second_bytes:
        return None
    return (
        f"a second model of {second_bytes / 2**30:.1f} GiB does not fit beside the first: "
        f"{max(beside, 0) / 2**30:.1f} GiB are free"
    )


class Pair(ABC):
    """Baseline and candidate. Whoever runs one of them says so, as the candidate's surroundings differ.

    A context manager: what is served ends with it.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._open = ExitStack()
        self._each = {who: self._open.enter_context(ExitStack()) for who in WHO}
        self.footprints: dict[Who, Footprint] = {}
        """Of the models that were served so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._forget()
        self._open.close()

    def fill(self) -> None:  # noqa: B027  # in turn there is nothing to do
        """Serve all that is served at once; else each is when it is first used."""

    def alone(self, look: Callable[[], None]) -> None:  # noqa: B027  # in turn nothing waits
        """Call `look` while the baseline alone is served: now, and again once the candidate has ended."""

    @abstractmethod
    def _forget(self) -> None:
        """Let go of every model, which else would outlive its end."""

    @abstractmethod
    def _served(self, who: Who) -> tuple[Build, Served]:
        """The model, ready to answer, and what it was made of."""

    @contextmanager
    def use(self, who: Who) -> Iterator[Served]:
        """The model, to run, in its surroundings."""
        build, served = self._served(who)
        with build.hold():
            yield served

    def _start(self, who: Who, build: Build) -> Served:
        served = self._each[who].enter_context(self._serve(who, build))
        self.footprints.setdefault(who, served.footprint())
        return served


AT_ONCE: Mapping[Who, float] = MappingProxyType({"baseline": 0.0, "candidate": 0.0})


class Together(Pair):
    """Both models are served from when they are first used."""

    def __init__(
        self,
        serve: Serve,
        make: Mapping[Who, Callable[[], Build]],
        rest_s: Mapping[Who, float] = AT_ONCE,
    ) -> None:
        """So long after its last answer, `rest_s`, the one costs the other nothing more."""
        super().__init__(serve)
        self._make, self._rest_s = make, rest_s
        self._both: dict[Who, tuple[Build, Served]] = {}
        self._look: Callable[[], None] | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._look and kind is None:
                self._both.pop("candidate", None)
                self._each["candidate"].close()
                self._look()
        finally:
            super().__exit__(kind, error, trace)

    @contextmanager
    def use(self, who: Who) -> Iterator[Served]:
        """The model, to run, and at rest again afterwards."""
        with super().use(who) as served:
            yield served
        time.sleep(self._rest_s[who])

    def alone(self, look: Callable[[], None]) -> None:
        """Before and after, so that what drifts evenly in between is in neither."""
        with self.use("baseline"):
            pass
        look()
        self._look = look

    def fill(self) -> None:
        """Serve those that are not yet."""
        for who in self._make:
            self._served(who)

    def _forget(self) -> None:
        self._both.clear()

    def _served(self, who: Who) -> tuple[Build, Served]:
        if who not in self._both:
            build = self._make[who]()
            self._both[who] = build, self._start(who, build)
        return self._both[who]


class InTurn(Pair):
    """One model at a time is on the device: asking for the other ends it, or puts it to sleep."""

    def __init__(
        self,
        serve: Serve,
        make: Mapping[Who, Callable[[], Build]],
        once: Callable[[Served], object] = lambda served: None,
        sleepers: Collection[Who] = (),
    ) -> None:
        """`make` prepares a model, anew each time; `once` warms it up after every change but the first.

        Those of `sleepers` are made once, and sleep while the other is used.
        """
        super().__init__(serve)
        self._make, self._once, self._sleepers = make, once, sleepers
        self._who: Who | None = None
        self._now: tuple[Build, Served] | None = None
        self._asleep: dict[Who, tuple[Build, Served]] = {}

    def _forget(self) -> None:
        self._now = None
        self._asleep.clear()

    def _served(self, who: Who) -> tuple[Build, Served]:
        if who != self._who or self._now is None:
            first = self._who is None
            self._put_away()
            self._who, self._now = who, self._brought(who)
            if not first:
                build, served = self._now
                with build.hold() if who == "candidate" else nullcontext():
                    self._once(served)
        return self._now

    def _put_away(self) -> None:
        """Free the device of the model that ran last."""
        if self._who is None or self._now is None:
            return
        if self._who in self._sleepers:
            cast("Sleeper", self._now[1]).sleep()
            self._asleep[self._who] = self._now
        self._now = None
        if self._who not in self._sleepers:
            self._each[self._who].close()

    def _brought(self, who: Who) -> tuple[Build, Served]:
        """The model, awake again or made."""
        if who in self._asleep:
            build, served = self._asleep.pop(who)
            cast("Sleeper", served).wake()
            return build, served
        build = self._make[who]()
        return build, self._start(who, build)
