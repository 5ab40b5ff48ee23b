"""Log-likelihoods from llama.cpp, whose server tells them of tokens that it makes and not of a prompt's.

So each token is forced: a bias that nothing outweighs makes it the next one, and its log-probability is
told as it was without the bias. The prompt's cache makes each step one token's work, and that is slow. Where
the file is ours, llama.cpp's library reads whole texts, and is held against the server's word.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from greenbench.engines.query import Answer, Query
from greenbench.engines.serving.client import Client, Post
from greenbench.engines.serving.one_pass import InOnePass
from greenbench.engines.serving.reply import Body
from greenbench.engines.serving.scoring import InLanes
from greenbench.errors import EngineFault

FORCED = 1e9
READ = Path(__file__).with_name("score_gguf.py")


class ByForce(InLanes):
    """One request a token, each lane in a slot of its own."""

    def __init__(self, client: Client, slots: int, context: int, *, erases: bool = True) -> None:
        """`context` tokens are there for all slots together; another's server may refuse to erase."""
        super().__init__(client, slots)
        self._context, self._erases = context, erases

    def lanes(self, queries: Sequence[Query]) -> int:
        """As many as have room for their longest texts beside each other."""
        longest = max((len(query.tokens) for query in queries), default=0) + 1
        return max(1, min(super().lanes(queries), self._context // longest))

    def score(self, queries: Sequence[Query], answered: Callable[[int, Answer], None]) -> None:
        """As of all lanes; the slots are empty afterwards, as what they keep slows every later request."""
        super().score(queries, answered)
        erase: list[tuple[str, Body]] = [
            (f"/slots/{lane}?action=erase", {}) for lane in range(self._lanes)
        ]
        with nullcontext() if self._erases else suppress(EngineFault):
            self._client.ask(erase)

    async def ask(self, post: Post, query: Query, lane: int) -> Answer:
        """Token by token, each after those before it."""
        nats, greedy = 0.0, True
        start = len(query.tokens) - len(query.targets) + 1
        for place, target in enumerate(query.targets):
            prompt = query.tokens[: start + place]
            found = await post("/completion", _forced(prompt, target, lane))
            try:
                (told,) = found["completion_probabilities"]
                if told["id"] != target:
                    raise ValueError
                nats += float(told["logprob"])
                greedy = greedy and told["top_logprobs"][0]["id"] == target
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise EngineFault(
                    "The server of engine=llama_cpp does not tell the log-probability of a token that is "
                    "forced: install the version of xllamacpp that constraints.txt names."
                ) from error
        return nats, greedy


def in_one_pass(server: ByForce, asked: Mapping[str, object]) -> InOnePass:
    """By llama.cpp's library; `asked`: the options of `score_gguf.py`."""
    command = [sys.executable, "-I", str(READ), json.dumps(asked)]
    remedy = "install the version of xllamacpp that constraints.txt names"
    return InOnePass(server, command, "llama.cpp's library", remedy)


def _forced(prompt: Sequence[int], target: int, slot: int) -> dict[str, object]:
    return {
        "prompt": list(prompt),
        "n_predict": 1,
        "temperature": 0,
        "n_probs": 1,
        "logit_bias": [[target, FORCED]],
        "cache_prompt": True,
        "id_slot": slot,
    }
