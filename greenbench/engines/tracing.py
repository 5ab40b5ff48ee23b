"""What some models can do beside answering: tell what their time is spent in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from greenbench.engines.engine import Request
from greenbench.schema.profile import Trace


@runtime_checkable
class Traceable(Protocol):
    """A `Served` that can be looked into while it answers."""

    tool: str
    """What looks, with its version."""

    def traced(self, batch: Sequence[Request]) -> Trace:
        """Answer all of `batch`, as `Served.complete` does, twice. Raises Unavailable where what ran is not
        seen."""


@runtime_checkable
class Untraceable(Protocol):
    """A `Served` that says why it cannot be looked into, where it is not `Traceable`."""

    untraced: str
    """What its engine does not tell."""
