"""A server as it is asked: where it is, what each request says beside the usual, and its faults in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from greenbench.errors import Busy, EngineFault, UserError
from greenbench.scrub import HIDDEN

SHEDS = (429, 503)
"""What a server answers that has too many requests."""
MOST_STOPS = 4
"""As OpenAI's own API takes, and what follows it to the letter."""
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
    ours: bool = True
    """Whether we have started it, so that its log is here."""

    def hidden(self, text: str) -> str:
        """`text` without the key; it must be whole still, as half a key is not found."""
        return text.replace(self.key, HIDDEN) if self.key else text

    def shown(self, text: str) -> str:
        """As much of `text` as a sentence can hold."""
        text = " ".join(self.hidden(text).split())
        return "a web page" if text.startswith("<") else text[:120]

    @property
    def remedy(self) -> str:
        """Where more is to be found."""
        return "see its log" if self.ours else "see what it logs where it runs"

    def fault(self, what: str, remedy: str = "") -> EngineFault:
        """The sentence on what it does wrong."""
        return EngineFault(f"The server of engine={self.engine} {what}: {remedy or self.remedy}.")

    def nothing_there(self) -> EngineFault:
        """The sentence on an address where no one takes a connection."""
        at = urlsplit(self.url)
        where = f"{at.hostname}:{at.port or {'http': 80, 'https': 443}[at.scheme]}"
        if self.ours:
            return self.fault(f"takes no connection at {where}")
        return EngineFault(
            f"Nothing answers at engine.url ({where}): start the server, or correct the address."
        )

    def moved(self, location: str) -> UserError:
        """The sentence on a server that sends us to another, which nobody has named."""
        with suppress(ValueError):
            location = urlsplit(location).hostname or ""
        where = self.shown(location) or "another path"
        return UserError(
            f"The server of engine={self.engine} sends requests on to {where}, which nobody has named: "
            "say the address that is meant, as in engine.url=http://HOST:PORT."
        )

    def no_json(self, how: str, raw: bytes) -> EngineFault:
        """The sentence on what should be JSON and is not."""
        said = self.shown(raw.decode(errors="replace"))
        where = "check that engine.url is the address of an OpenAI-compatible server"
        return self.fault(f"{how} what is no JSON ({said})", "" if self.ours else where)

    def refused(self, status: int, said: str, stops: int = 0) -> Exception:
        """The sentence on a reply that is none, to a request with so many `stops`."""
        try:
            said = told(json.loads(said).get("error") or json.loads(said), self.hidden)
        except (ValueError, AttributeError):
            said = self.shown(said)
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
        answered = f"answered {status}{f' ({said})' if said else ''}"
        if status in (400, 422) and stops > MOST_STOPS and "stop" in said:
            return self.fault(
                f"{answered} to an answer that ends at any of {stops} strings, as this task's do",
                f"start it so that it takes as many (vLLM: VLLM_MAX_STOP_STRINGS={stops}), or choose "
                "another task",
            )
        fault = self.fault(answered)
        return Busy(str(fault)) if status in SHEDS else fault


def told(error: object, hidden: Callable[[str], str] = str) -> str:
    """What an error says, in one line, without what `hidden` takes out."""
    if isinstance(error, dict):
        error = error.get("message") or error.get("error") or error
    if isinstance(error, dict) and "message" in error:
        return told(error, hidden)
    return _line(hidden(str(error)))


def _line(text: str) -> str:
    return " ".join(text.split())[:200].rstrip(". ")
