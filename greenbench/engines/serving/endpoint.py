"""A server as it is asked: where it is, what each request says beside the usual, and its faults in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from greenbench.engines.serving.answer import told
from greenbench.errors import EngineFault, UserError
from greenbench.scrub import HIDDEN

SILENCE_S = 300.0
"""A server that sends nothing for so long hangs."""


class Endpoint(NamedTuple):
    """A server, and how it is asked."""

    engine: str
    """For people."""
    url: str
    """Without a slash at its end."""
    model: str | None = None
    """As the server calls it; null where it has but one."""
    extra: Callable[[int | None], Mapping[str, object]] = lambda place: {}
    """What the request at this place of a batch says beside the usual; null: it has none of its own."""
    key: str | None = None
    """Sent as a bearer token; it enters no message."""
    silence_s: float = SILENCE_S
    alive: Callable[[], None] = lambda: None
    """Raises, in one sentence, where its program has ended."""

    def hidden(self, text: str) -> str:
        """`text` without the key; it must be whole still, as half a key is not found."""
        return text.replace(self.key, HIDDEN) if self.key else text

    def fault(self, what: str, remedy: str = "see its log") -> EngineFault:
        """The sentence on what it does wrong."""
        return EngineFault(f"The server of engine={self.engine} {what}: {remedy}.")

    def refused(self, status: int, said: str) -> Exception:
        """The sentence on a reply that is none."""
        try:
            said = told(json.loads(said).get("error") or json.loads(said), self.hidden)
        except (ValueError, AttributeError):
            said = " ".join(self.hidden(said).split())[:120]
        server = f"The server of engine={self.engine}"
        if status in (401, 403):
            return UserError(
                f"{server} refuses the key ({status}): put a valid one into the environment variable that "
                "engine.key_variable names."
            )
        if status == 404:
            return UserError(
                f"{server} knows no such model or address (404{': ' + said if said else ''}): check "
                "engine.url and engine.model."
            )
        return self.fault(f"answered {status} ({said})")
