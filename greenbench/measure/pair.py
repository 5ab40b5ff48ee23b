"""The two models of a run: both served, or in turn where the device cannot hold both."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import TracebackType
from typing import Self

from greenbench.engines.engine import Build, Footprint, Served
from greenbench.schema.enums import Design
from greenbench.schema.window import Who

ROOM = 1.3  # a second model needs its weights again, and this much more for what it computes
Serve = Callable[[Build], AbstractContextManager[Served]]
"""An engine's `serve` on the run's machine."""


def apart_reason(design: Design, free_bytes: int, room_bytes: int) -> str | None:
    """Why two models of `room_bytes` are to be measured in turn; null: together.

    `free_bytes` are the device's with neither of the two loaded.
    """
    if design is Design.interleaved:
        return None
    if design is Design.sequential:
        return "protocol.design=sequential asks for it"
    beside = free_bytes - room_bytes
    if beside >= ROOM * room_bytes:
        return None
    return (
        f"a second model of {room_bytes / 2**30:.1f} GiB does not fit beside the first: "
        f"{max(beside, 0) / 2**30:.1f} GiB are free"
    )


class Pair(ABC):
    """Baseline and candidate. Whoever runs one of them says so, as the candidate's surroundings differ.

    A context manager: what is served ends with it.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._open = ExitStack()
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
        served = self._open.enter_context(self._serve(build))
        self.footprints.setdefault(who, served.footprint())
        return served


class Together(Pair):
    """Both models are served from when they are first used."""

    def __init__(
        self, serve: Serve, make: Mapping[Who, Callable[[], Build]], rest_s: float = 0.0
    ) -> None:
        """`rest_s` after its last answer the one costs the other nothing more."""
        super().__init__(serve)
        self._make, self._rest_s = make, rest_s
        self._both: dict[Who, tuple[Build, Served]] = {}

    @contextmanager
    def use(self, who: Who) -> Iterator[Served]:
        """The model, to run, and at rest again afterwards."""
        with super().use(who) as served:
            yield served
        time.sleep(self._rest_s)

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
    """Serves one model at a time: asking for the other ends it and makes the other."""

    def __init__(
        self,
        serve: Serve,
        make: Mapping[Who, Callable[[], Build]],
        once: Callable[[Served], object] = lambda served: None,
    ) -> None:
        """`make` prepares a model, anew each time; `once` warms it up after every change but the first."""
        super().__init__(serve)
        self._make, self._once = make, once
        self._who: Who | None = None
        self._now: tuple[Build, Served] | None = None

    def _forget(self) -> None:
        self._now = None

    def _served(self, who: Who) -> tuple[Build, Served]:
        if who != self._who or self._now is None:
            first = self._who is None
            self._forget()
            self._open.close()
            build = self._make[who]()
            self._who, self._now = who, (build, self._start(who, build))
            if not first:
                with build.hold() if who == "candidate" else nullcontext():
                    self._once(self._now[1])
        return self._now
