"""Log-likelihoods from OpenVINO: its runtime reads whole texts, and the server confirms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from greenbench.engines.query import Answer, Query
from greenbench.engines.serving.client import COMPLETIONS, Client, Post
from greenbench.engines.serving.one_pass import InOnePass
from greenbench.engines.serving.scoring import InLanes
from greenbench.errors import EngineFault

REMEDY = "make engine-openvino again, or choose another engine"


class Echoed(InLanes):
    """The server tells the log-probabilities of the prompt's own tokens, and not which are the likeliest."""

    async def ask(self, post: Post, query: Query, lane: int) -> Answer:
        """The last of the prompt's log-probabilities are the targets'."""
        prompt = [*query.tokens, query.targets[-1]]
        body = {"prompt": prompt, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0}
        found = await post(COMPLETIONS, body)
        try:
            told = found["choices"][0]["logprobs"]["token_logprobs"]
            if len(told) != len(prompt):
                raise ValueError
            return sum(map(float, told[-len(query.targets) :])), False
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EngineFault(
                "The server of engine=openvino does not tell the log-probabilities of a prompt's tokens: "
                f"{REMEDY}."
            ) from error


def in_one_pass(
    client: Client, lanes: int, command: Sequence[str], environment: Mapping[str, str]
) -> InOnePass:
    """By OpenVINO's runtime; `command` starts `score_ir.py`."""
    return InOnePass(Echoed(client, lanes), command, "OpenVINO's runtime", REMEDY, environment)
