"""lm-eval's view of a model that is already loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

Tokens = tuple[Any, list[int], list[int]]
"""The texts of a request, its context tokens and its continuation tokens."""


class LoadedModel(HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """lm-eval's own Hugging Face class around `model`, which it neither moves nor changes.

    Three things differ from stock, none of them an answer: log-softmax runs in float32 whatever
    the model's dtype (summed in bfloat16, a passage's log-likelihood is off by up to 1 part in
    256); logits are computed only where a continuation starts or later; texts are batched by
    length.
    """

    def __init__(
        self, model: torch.nn.Module, tokenizer: Any, batch_size: int, done: Callable[[], None]
    ) -> None:
        """`done` is called after each request."""
        with _ties_kept(model):
            super().__init__(
                pretrained=model,
                tokenizer=tokenizer,
                backend="causal",
                batch_size=batch_size,
                softmax_dtype="float32",
            )
        self.set_cache_hook(_AfterEach(done))
        self._selects = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._keep = 0

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood of each whole text, in nats."""
        answers: dict[int, float] = {}
        order = sorted(range(len(requests)), key=lambda i: len(requests[i].args[0]), reverse=True)
        for batch in _batches(order, self.batch_size):
            found = super().loglikelihood_rolling([requests[i] for i in batch])
            answers.update(zip(batch, found, strict=True))
        return [answers[i] for i in range(len(requests))]

    def _loglikelihood_tokens(
        self, requests: list[Tokens], **options: Any
    ) -> list[tuple[float, bool]]:
        answers: dict[int, tuple[float, bool]] = {}
        order = sorted(range(len(requests)), key=lambda i: _by_length(requests[i]))
        for batch in _batches(order, self.batch_size):
            chunk = [requests[i] for i in batch]
            self._keep = _positions(chunk, self.max_length)
            answers.update(zip(batch, super()._loglikelihood_tokens(chunk, **options), strict=True))
        return [answers[i] for i in range(len(requests))]

    def _model_call(self, inps: torch.Tensor, **options: Any) -> torch.Tensor:
        """Logits (batch, positions, vocabulary) at the end, from where lm-eval counts positions."""
        if not self._selects:
            return torch.as_tensor(super()._model_call(inps, **options))
        with torch.no_grad():
            return torch.as_tensor(self.model(inps, logits_to_keep=self._keep).logits)


class _AfterEach:
    """Stands where lm-eval's cache listens for each answered request."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done = done

    def add_partial(self, *_: object) -> None:
        self._done()


@contextmanager
def _ties_kept(model: torch.nn.Module) -> Iterator[None]:
    """HFLM ties weights again, which would undo a technique that replaced one of a tied pair."""
    model.tie_weights = lambda: None  # type: ignore[assignment]
    try:
        yield
    finally:
        del model.tie_weights


def _by_length(request: Tokens) -> tuple[int, list[int]]:
    """Longest first; requests with the same tokens, which lm-eval computes once, side by side."""
    tokens = request[1] + request[2]
    return -len(tokens), tokens


def _batches(order: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (order[start : start + size] for start in range(0, len(order), size))


def _positions(batch: list[Tokens], max_length: int) -> int:
    """Positions, counted from the end of the padded batch, that hold every continuation."""
    lengths = [min(len(context) + len(answer) - 1, max_length) for _, context, answer in batch]
    starts = [n - len(answer) for n, (_, _, answer) in zip(lengths, batch, strict=True)]
    return max(lengths) - min(starts)
