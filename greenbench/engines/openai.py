"""An engine that is running already: any OpenAI-compatible server, at a URL."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import SplitResult, urlsplit

import psutil

from greenbench.engines.engine import Ability, Build, Engine, Footprint, Form, Served
from greenbench.errors import EngineFault, Unsupported, UserError
from greenbench.schema.ranges import require
from greenbench.schema.spec import ModelSpec
from greenbench.scrub import name_secret

if TYPE_CHECKING:
    from greenbench.engines.serving.client import Client
    from greenbench.engines.serving.scoring import Scorer
    from greenbench.machine.detect import Machine

HERE = ("127.0.0.1", "::1", "localhost")
NOT_TOLD = "a server that was running already does not tell what it holds"
LOOK_S = 10.0
"""To say which models it has, nothing needs to be computed."""
PASSING_ON = {
    "docker-proxy",
    "kubectl",
    "pasta",
    "rootlessport",
    "slirp4netns",
    "socat",
    "ssh",
    "sshd",
}
"""Programs that listen for a server which is in a container or on another machine."""
VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
LANES = 8
"""Texts that are scored beside each other."""


@dataclass(frozen=True)
class OpenAI(Engine):
    """Asks the server at a URL; it is neither started nor ended."""

    name: ClassVar[str] = "openai"
    summary: ClassVar[str] = "a running OpenAI-compatible server, at engine.url"
    forms: ClassVar[frozenset[Form]] = frozenset({"url"})
    abilities: ClassVar[frozenset[Ability]] = frozenset({"probe"})
    keeps_prompts: ClassVar[bool] = True  # it is told not to, and who knows whether it heeds that

    url: str = ""
    """Such as http://127.0.0.1:8000, without the /v1 of its paths. The model says the tokenizer."""
    model: str | None = None
    """What the server calls it; null: the only one that it has."""
    key_variable: str | None = None
    """Environment variable with the key that the server asks for. The key itself is never recorded."""
    context: int = 4096
    """Longest sequence that the server takes, where the model knows as many."""

    def __post_init__(self) -> None:
        parts = _parts(self.url)
        if parts.username or parts.password:
            raise UserError(
                "engine.url has a key or password in it, which would be recorded: put it into an environment "
                "variable, and name that with engine.key_variable."
            )
        if parts.query or parts.fragment:
            raise UserError(
                "engine.url has a ? or # in it, and what follows would be recorded: leave it out, and put a "
                "key into an environment variable, and name that with engine.key_variable."
            )
        if self.url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise _no_address(self.url)
        if self.key_variable is not None and not VARIABLE.fullmatch(self.key_variable):
            raise UserError(
                "engine.key_variable is no name of an environment variable: put the key into one, as in "
                "export SERVER_KEY=KEY, and say its name, as in engine.key_variable=SERVER_KEY."
            )
        if self.key_variable:
            name_secret(self.key_variable)
        require(self.context >= 1, "engine.context", self.context, "1 or more")

    def check(self, machine: Machine) -> None:
        """It needs an address, and the key that is spoken of."""
        if not self.url:
            raise Unsupported(
                "engine=openai needs the address of a running server: add engine.url=http://HOST:PORT."
            )
        self._require_key()

    def settled(
        self, spec: ModelSpec, machine: Machine, uncompiled: str | None, *, of_reference: bool
    ) -> Sequence[Self]:
        """There is nothing to choose; the key must be there before a record of the run is begun."""
        self._require_key()
        return (self,)

    def _require_key(self) -> None:
        """Its value is not told, as it may be the key itself."""
        if self.key_variable and not os.environ.get(self.key_variable):
            raise UserError(
                "engine.key_variable names an environment variable that is not set: export it with the key "
                "in it first, and say its name there, never the key."
            )

    def check_model(self, spec: ModelSpec, directory: Path, machine: Machine) -> None:
        """The server must be there, take the key, and have the model."""
        client = self._client(None)
        try:
            self._model(client)
        finally:
            client.close()

    def elsewhere(self) -> str | None:
        """A meter here counts nothing of another machine."""
        host = urlsplit(self.url).hostname
        if host in HERE:
            return None
        return f"engine.url is at {host}, and a meter of this machine counts nothing there."

    def unseen(self) -> str | None:
        """Its processes may be another user's or a container's, or pass on what others answer."""
        if self.elsewhere() or self._pids():
            return None
        return (
            "engine.url is answered by no process that is seen here, as it is in a container, another user's "
            "or behind a tunnel, so that the CPU time of the model is not known."
        )

    def room_bytes(self, build: Build) -> int:
        """It is there already."""
        return 0

    @contextmanager
    def serve(self, build: Build, machine: Machine) -> Iterator[Served]:
        """Whatever the server has; of the build it takes the tokenizer."""
        from greenbench.engines.serving.served import Body, FromServer
        from greenbench.engines.transformers.load import load_tokenizer
        from greenbench.engines.transformers.served import HubTokenizer

        asking = self._client(None)
        try:
            model = self._model(asking)
        finally:
            asking.close()
        client = self._client(model)
        try:
            plain = load_tokenizer(build.model, build.directory)
            config = json.loads((build.directory / "config.json").read_text())
            tokens = min(self.context, int(config.get("max_position_embeddings") or self.context))
            body = Body(
                HubTokenizer(plain, build.manner),
                plain,
                tokens,
                Footprint(None, None, None, NOT_TOLD),
                build.start.at_once,
                self._pids,
            )
            yield FromServer(client, lambda client: self._scorer(client, tokens), body)
        finally:
            client.close()

    def _client(self, model: str | None) -> Client:
        """What asks for `model`; null: which there are, and no longer than that takes."""
        from greenbench.engines.serving.client import Client
        from greenbench.engines.serving.endpoint import SILENCE_S, Endpoint

        key = os.environ.get(self.key_variable or "")
        if self.key_variable:  # of a worker, which is given this engine as it was made
            name_secret(self.key_variable)
        url = self.url.rstrip("/").removesuffix("/v1")
        silence_s = LOOK_S if model is None else SILENCE_S
        return Client(Endpoint(self.name, url, model, _uncached, key, silence_s, ours=False))

    def _model(self, client: Client) -> str:
        """What to ask for. Raises UserError for a model that the server has not."""
        found = client.get("/v1/models").get("data")
        if not isinstance(found, list):
            raise UserError(
                "What answers at engine.url lists no models at /v1/models, as an OpenAI-compatible server "
                "does: correct the address."
            )
        names = [str(each.get("id")) for each in found if isinstance(each, dict)]
        if self.model is None and len(names) == 1:
            return names[0]
        if self.model in names:
            return str(self.model)
        asked = "has no one model" if self.model is None else f"has no model {self.model}"
        raise UserError(
            f"The server at engine.url {asked}: say engine.model as one of {', '.join(names) or 'none'}."
        )

    def _scorer(self, client: Client, tokens: int) -> Scorer:
        """How this server tells log-likelihoods, if it does: found by a try."""
        from greenbench.engines.llama_cpp.scoring import ByForce
        from greenbench.engines.query import Query
        from greenbench.engines.serving.scoring import ByPrompt, NoScorer

        with suppress(EngineFault, UserError):
            ByPrompt(client, 1).score([Query((1, 2), (3,))], lambda place, answer: None)
            return ByPrompt(client, LANES)
        with suppress(EngineFault, UserError, KeyError, TypeError):
            slots = int(client.get("/props")["total_slots"])  # llama.cpp's
            return ByForce(client, slots, tokens, erases=False)
        return NoScorer("The server at engine.url tells no log-probabilities of a prompt's tokens")

    def _pids(self) -> frozenset[int] | None:
        """Those that listen at the address and what they have started, where that is this machine."""
        parts = urlsplit(self.url)
        if parts.hostname not in HERE:
            return None
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        found: set[int] = set()
        with suppress(psutil.Error):
            for each in psutil.net_connections(kind="tcp"):
                at = each.laddr.port if each.laddr else None
                if each.status == psutil.CONN_LISTEN and at == port and each.pid:
                    listener = psutil.Process(each.pid)
                    if listener.name() in PASSING_ON:
                        return None
                    children = listener.children(recursive=True)
                    found |= {each.pid, *(child.pid for child in children)}
        return frozenset(found) or None


def _parts(url: str) -> SplitResult:
    """Raises UserError for what has none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # which may be no number, or none that there is
    except ValueError:
        raise _no_address(url) from None
    return parts


def _no_address(url: str) -> UserError:
    return UserError(f"engine.url={url} is no address: say one as http://127.0.0.1:8000.")


def _uncached(place: int | None) -> dict[str, object]:
    """No request may profit from an earlier one: llama.cpp's word for it, and vLLM's."""
    return {"cache_prompt": False, "timings_per_token": True, "cache_salt": uuid.uuid4().hex}
