"""lm-eval's view of a model that is already loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

import torch
from lm_eval.models.huggingface import HFLM

from greenbench.engines.query import Answer, Query
from greenbench.engines.scoring import AfterEach, InQueries
from greenbench.engines.transformers.fidelity import Watch
from greenbench.engines.transformers.prefix_forward import Forward
from greenbench.engines.transformers.prefix_tree import Batch, plan

AHEAD = 1024
"""Requests tokenized and planned while the ones before are computed."""

T = TypeVar("T")


class LoadedModel(InQueries, HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """lm-eval's Hugging Face class around `model`, which it neither moves nor changes.

    Texts become tokens, and are cut to the model's length, exactly as in stock; what differs is
    the work: beginnings that requests share are computed once, the head runs where a continuation
    is scored and nowhere else, the next requests are tokenized meanwhile, and batches have as many
    tokens as pay.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Any,
        done: Callable[[], None] = lambda: None,
        watch: Watch | None = None,
        softmax_dtype: str | None = None,
        *,
        scored_whole: bool = False,
    ) -> None:
        """`done` is called after each request; `watch` sees what is predicted on whole texts.

        `softmax_dtype` is lm-eval's: the dtype of log-probabilities and their sums, by default
        the model's. `scored_whole`: beginnings are not shared, as the model's cache decides what
        it says.
        """
        with _ties_kept(model):
            super().__init__(
                pretrained=model,
                tokenizer=tokenizer,
                backend="causal",
                softmax_dtype=softmax_dtype,
            )
        self.set_cache_hook(AfterEach(done))
        self.tok_encode = lru_cache(maxsize=64)(super().tok_encode)  # endings share their context
        self.forward = Forward(
            model, self.softmax_dtype, whole=scored_whole, longest=self.max_length
        )
        self._watch = watch

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[Answer]:
        """Of each continuation after its context."""
        return self._answers("loglikelihood", requests, lambda pair: [self.pair(*pair)])

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood of each whole text, in nats."""
        found = self._answers("loglikelihood_rolling", requests, lambda text: self.windows(*text))
        return [nats for nats, _ in found]

    def _answers(
        self, kind: str, requests: list[Any], encode: Callable[[Any], list[Query]]
    ) -> list[Answer]:
        """In the order of `requests`, each the sum over the queries that `encode` makes of it."""
        order = sorted(range(len(requests)), key=lambda i: requests[i].args)  # beginnings together
        groups = [order[start : start + AHEAD] for start in range(0, len(order), AHEAD)]
        answers: dict[int, Answer] = {}
        work = ahead(self._work([encode(requests[i].args) for i in group]) for group in groups)
        for group, (owners, batches) in zip(groups, work, strict=True):
            if self._watch is not None and kind == "loglikelihood_rolling":
                texts = [(requests[i].task_name, requests[i].doc_id) for i in group]
                share = len(group) / len(requests)
                self.forward.listener = self._watch.listener(texts, owners, batches, share)
            for place, answer in self._finished(owners, batches, len(group)):
                answers[group[place]] = answer
                self.cache_hook.add_partial(kind, requests[group[place]].args, answer)
        self.forward.listener = None
        return [answers[i] for i in range(len(requests))]

    def _work(self, asked: list[list[Query]]) -> tuple[torch.Tensor, list[Batch]]:
        """Batches for the queries of each request, and the request of each query."""
        owners = torch.tensor([place for place, queries in enumerate(asked) for _ in queries])
        queries = [query for queries in asked for query in queries]
        asks = self.forward
        return owners, plan(queries, asks.budget, trees=asks.trees, least=asks.least)

    def _finished(
        self, owners: torch.Tensor, batches: list[Batch], requests: int
    ) -> Iterator[tuple[int, Answer]]:
        """Places of requests with their answers, as soon as the last batch they need is done."""
        left = torch.zeros(requests, dtype=torch.long)
        for batch in batches:
            left += owners[batch.owners].bincount(minlength=requests)
        yield from ((place, (0.0, True)) for place in (left == 0).nonzero()[:, 0].tolist())
        nats = torch.zeros(requests, dtype=torch.float64)
        missed = torch.zeros(requests)
        for batch in batches:
            scores, asking = self.forward(batch), owners[batch.owners]
            queries, sums = _sums(batch.owners, scores.log_likelihoods)
            nats.index_add_(0, owners[queries], sums)
            missed.index_add_(0, asking, (~scores.greedy).float())
            left -= asking.bincount(minlength=requests)
            for place in set(asking.tolist()):
                if left[place] == 0:
                    yield place, (float(nats[place]), missed[place].item() == 0)


def _sums(owners: torch.Tensor, nats: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries with the sum of each, rounded to the dtype of `nats` as lm-eval's; in float64."""
    queries, which = torch.unique(owners, return_inverse=True)
    sums = torch.zeros(len(queries), dtype=torch.float64).index_add_(0, which, nats.double())
    return queries, sums.to(nats.dtype).double()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in a thread while the one before is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


@contextmanager
def _ties_kept(model: torch.nn.Module) -> Iterator[None]:
    """HFLM ties weights again, which would undo a technique that replaced one of a tied pair."""
    model.tie_weights = lambda: None  # type: ignore[assignment]
    try:
        yield
    finally:
        del model.tie_weights
