"""lm-eval's view of a model that a server runs: the same texts, tokens and cuts as of one in process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import has_bos_prefix

from greenbench.engines.query import Answer, Query
from greenbench.engines.scoring import AfterEach, InQueries
from greenbench.engines.serving.client import COMPLETIONS, Client, Post
from greenbench.errors import EngineFault


class Scorer(Protocol):
    """Asks a server for the log-likelihoods of tokens."""

    cannot: str | None
    """Why it does not tell any; null: it does."""

    def score(self, queries: Sequence[Query], answered: Callable[[int, Answer], None]) -> None:
        """Call `answered` with the place of each query and its answer, in any order."""


class NoScorer:
    """For a server that tells no log-likelihoods."""

    def __init__(self, cannot: str) -> None:
        self.cannot: str | None = cannot

    def score(self, queries: Sequence[Query], answered: Callable[[int, Answer], None]) -> None:
        """Whoever asks has not looked whether it can."""
        raise EngineFault(f"{self.cannot}.")


class InLanes(ABC):
    """Asks in lanes beside each other, each for one query after another."""

    cannot: str | None = None

    def __init__(self, client: Client, lanes: int) -> None:
        self._client, self._lanes = client, lanes

    def score(self, queries: Sequence[Query], answered: Callable[[int, Answer], None]) -> None:
        """Neighbours share beginnings, which a server may keep: so each lane has a stretch of them."""
        lanes = self.lanes(queries)
        cuts = [len(queries) * lane // lanes for lane in range(lanes + 1)]

        def along(lane: int) -> Callable[[Post], Any]:
            async def run(post: Post) -> None:
                for place in range(cuts[lane], cuts[lane + 1]):
                    answered(place, await self.ask(post, queries[place], lane))

            return run

        self._client.chains([along(lane) for lane in range(lanes)])

    def lanes(self, queries: Sequence[Query]) -> int:
        """How many there may be."""
        return max(1, min(self._lanes, len(queries)))

    @abstractmethod
    async def ask(self, post: Post, query: Query, lane: int) -> Answer:
        """One query's answer."""


class ByPrompt(InLanes):
    """One request a query: the server tells the log-probabilities of the prompt's own tokens.

    As vLLM does: ``echo`` with ``logprobs`` and no token to make.
    """

    async def ask(self, post: Post, query: Query, lane: int) -> Answer:
        """The last of the prompt's log-probabilities are the targets'."""
        prompt = [*query.tokens, query.targets[-1]]
        body = {"prompt": prompt, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0}
        found = await post(COMPLETIONS, body)
        try:
            told = found["choices"][0]["logprobs"]
            nats = [float(each) for each in told["token_logprobs"][-len(query.targets) :]]
            best = [max(each.values()) for each in told["top_logprobs"][-len(query.targets) :]]
            if len(told["token_logprobs"]) != len(prompt):
                raise ValueError
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EngineFault(
                "The server does not tell the log-probabilities of a prompt's tokens (echo with logprobs), "
                "which scoring needs: choose another engine."
            ) from error
        return sum(nats), all(mine >= top for mine, top in zip(nats, best, strict=True))


class ServedModel(InQueries, TemplateLM):  # type: ignore[misc]  # lm-eval is untyped
    """A model behind a server; `scorer` knows how that one tells log-likelihoods."""

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        scorer: Scorer,
        render: Callable[..., str],
        done: Callable[[], None],
    ) -> None:
        """`done` is called after each request; `render` puts turns into the chat template."""
        super().__init__()
        self._render = render
        self.tokenizer, self.max_length = tokenizer, max_length
        self._scorer = scorer
        self._encoded = lru_cache(maxsize=64)(self._encode)  # endings share their context
        self.set_cache_hook(AfterEach(done))
        kinds = ("loglikelihood", "loglikelihood_rolling") if scorer.cannot else ()
        self.cannot = dict.fromkeys(kinds, scorer.cannot)

    @property
    def eot_token_id(self) -> int:
        """What ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What begins a text that nothing precedes, as in lm-eval's class of transformers."""
        begin = self.tokenizer.bos_token_id
        return self.eot_token_id if begin is None else int(begin)

    @property
    def tokenizer_name(self) -> str:
        """Would name prompts that lm-eval keeps, and none are kept."""
        return ""

    def _encode(self, string: str, add_special_tokens: bool | None) -> list[int]:
        """As lm-eval's class of transformers."""
        how = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        if add_special_tokens is None and has_bos_prefix(
            string, self.tokenizer.decode(self.prefix_token_id)
        ):
            how = {"add_special_tokens": False}
        return list(self.tokenizer.encode(string, **how))

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: Any
    ) -> list[int]:
        """Token ids, with what the tokenizer puts before any text."""
        return self._encoded(string, add_special_tokens)

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> Any:
        raise NotImplementedError("`loglikelihood` does its work")

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[Answer]:
        """Of each continuation after its context."""
        return self._answers("loglikelihood", requests, lambda pair: [self.pair(*pair)])

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood of each whole text, in nats."""
        found = self._answers("loglikelihood_rolling", requests, lambda text: self.windows(*text))
        return [nats for nats, _ in found]

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The turns as one text."""
        return self._render(chat_history, opened=add_generation_prompt)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        raise NotImplementedError("`Served.write` does its work")

    def _answers(
        self, kind: str, requests: list[Any], encode: Callable[[Any], list[Query]]
    ) -> list[Answer]:
        """In the order of `requests`, each the sum over the queries that `encode` makes of it."""
        order = sorted(range(len(requests)), key=lambda i: requests[i].args)  # beginnings together
        asked = [(i, query) for i in order for query in encode(requests[i].args)]
        left = [0] * len(requests)
        for owner, _ in asked:
            left[owner] += 1
        sums, greedy = [0.0] * len(requests), [True] * len(requests)
        for request, windows in zip(requests, left, strict=True):
            if windows == 0:  # an empty text
                self.cache_hook.add_partial(kind, request.args, (0.0, True))

        def answered(place: int, answer: Answer) -> None:
            owner = asked[place][0]
            sums[owner] += answer[0]
            greedy[owner] = greedy[owner] and answer[1]
            left[owner] -= 1
            if left[owner] == 0:
                whole = (sums[owner], greedy[owner])
                self.cache_hook.add_partial(kind, requests[owner].args, whole)

        self._scorer.score([query for _, query in asked], answered)
        return list(zip(sums, greedy, strict=True))
