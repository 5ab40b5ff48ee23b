"""Forward passes over forests of tokens, whatever causal language model is loaded."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

from greenbench.engines.query import Query
from greenbench.engines.transformers.fidelity import Listener
from greenbench.engines.transformers.prefix_attention import SDPA, along
from greenbench.engines.transformers.prefix_tree import PREFIX, Batch, plan
from greenbench.machine import allowance

PAYS = {"cpu": 1024, "cuda": 16384}
"""Tokens beyond which a larger batch is no faster; on a CPU those of each thread, which leave its
caches then."""
ENDING = 8
"""Tokens after the beginning that the longest text of a trial has."""
SLICES = {"cpu": 32, "cuda": 1024}
"""Positions whose log-probabilities are held at once."""


class Scores(NamedTuple):
    """What a model says at the S scored positions of a batch; on the CPU."""

    log_likelihoods: torch.Tensor
    """(S,) nats, of the targets."""
    greedy: torch.Tensor
    """(S,) whether the target is the likeliest token."""


class Forward:
    """Scores batches with `model`, which is left as it was.

    Trees need a model that takes positions and a 4-d attention mask and has no state but its
    keys and values. Whether `model` does is tried out on a few tokens, not inferred: where its
    logits are not those of plain rows, `trees` is False and rows must be single sequences.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        dtype: torch.dtype | None = None,
        *,
        whole: bool = False,
        longest: int = sys.maxsize,
    ) -> None:
        """Log-softmax is computed and rounded in `dtype`; null: in that of the logits.

        `longest`: how many tokens the model takes; it is not tried with more.
        `whole`: what the model says depends on its cache, so that no beginning may be shared, nor
        the cache be refused, lest scoring runs something else than what generates.
        """
        self._model: Any = model
        self._dtype = dtype
        self._device: torch.device = self._model.device  # type: ignore[assignment]
        self._takes = set(inspect.signature(model.forward).parameters)
        self._whole = whole
        if self._whole:
            self._takes -= {"use_cache"}
        self._prefix: tuple[tuple[int, ...], Any] = ((), None)
        self.trees, self._picks = False, False
        self.budget = _tokens_that_fit(self._model)
        self.least = min(self.budget, _of(PAYS, self._device))
        """Tokens that computing a shared beginning ahead must save, however many threads there are."""
        self._try(longest)
        self.listener: Listener | None = None
        """Told of the logits of every batch that is scored."""

    def __call__(self, batch: Batch) -> Scores:
        """Scores of `batch`, by halves where it does not fit into the device's memory."""
        try:
            logits, where = self.logits(batch)
            if self.listener is not None:
                self.listener(batch, logits, where)
            return _scores(logits, where, batch.targets.to(self._device), self._dtype)
        except torch.OutOfMemoryError:
            if len(batch.tokens) == 1:
                raise
        torch.cuda.empty_cache()
        parts = [self(half) for half in batch.halves()]
        return Scores(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    @torch.no_grad()
    def logits(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """(U, vocabulary) at the U different positions scored, and for each of S which it is."""
        places = batch.places.to(self._device)
        unique, where = torch.unique(places, return_inverse=True)  # endings part at one position
        inputs: dict[str, Any] = {"input_ids": batch.tokens.to(self._device)}
        if "use_cache" in self._takes:
            inputs["use_cache"] = False
        if self.trees:
            inputs |= self._as_trees(batch)
        with along(batch, self._device) if self._follows else nullcontext():
            if not self._picks:
                return self._model(**inputs).logits.flatten(0, 1)[unique], where
            with _only(self._model, unique):
                return self._model(**inputs).logits[0], where

    @property
    def _follows(self) -> bool:
        """Whether attention goes along paths. A model with attention of its own ignores that."""
        return self.trees and self._model.config._attn_implementation == SDPA

    def _as_trees(self, batch: Batch) -> dict[str, Any]:
        start = len(batch.prefix)
        inputs: dict[str, Any] = {
            "position_ids": batch.depths.to(self._device) + start,
            "attention_mask": self._masks(batch),
        }
        if start:
            cache = copy.deepcopy(self._cache(batch.prefix))
            cache.batch_repeat_interleave(len(batch.tokens))
            inputs |= {"past_key_values": cache, "use_cache": True}
        return inputs

    def _cache(self, prefix: tuple[int, ...]) -> Any:
        """Keys and values of `prefix`; the last one is kept."""
        if self._prefix[0] != prefix:
            (whole,) = plan([Query(prefix, prefix[-1:])], len(prefix))
            cache = DynamicCache()  # without a configuration, which would cut it to a window
            inputs = {"input_ids": whole.tokens.to(self._device), **self._as_trees(whole)}
            inputs |= {"past_key_values": cache, "use_cache": True}
            first = torch.tensor([0], device=self._device)
            with _only(self._model, first) if self._picks else nullcontext():
                self._model(**inputs)
            self._prefix = (prefix, cache)
        return self._prefix[1]

    def _masks(self, batch: Batch) -> Any:
        """Who sees whom, (rows, 1, length, prefix + length).

        Models with layers of several kinds take a mask for each kind.
        """
        config = self._model.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        kinds = set(getattr(config, "layer_types", None) or ())
        exits, depths = batch.exits.to(self._device), batch.depths.to(self._device)
        full = self._mask(_seen(exits, depths, len(batch.prefix), None))
        near = self._mask(_seen(exits, depths, len(batch.prefix), window)) if window else full
        if kinds - {"full_attention"}:
            by_kind = {"full_attention": full, "sliding_attention": near}
            return {kind: by_kind[kind] for kind in kinds}
        return full if kinds else near

    def _mask(self, seen: torch.Tensor) -> torch.Tensor:
        """As the model's attention takes it: SDPA takes booleans, others add to the scores."""
        if self._model.config._attn_implementation == SDPA:
            return seen[:, None]
        dtype = self._model.dtype
        mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
        return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]

    def _try(self, longest: int) -> None:
        """Compare trees with plain rows, and logits at a few positions with all of them.

        Of a model that is too short for a trial of trees, texts have little to share.
        """
        queries = _trial(self._model.config.get_text_config().vocab_size, longest)
        plain = plan(queries, self.budget, trees=False)
        grown = plan(queries, self.budget, least=1)
        expected = self._trial_logits(plain)
        # A wrong mask is off by far more than what rounding explains.
        tolerance = 1e-3 if self._model.dtype == torch.float32 else 0.05
        trials = {"_picks": plain}
        if not self._whole and longest >= PREFIX + ENDING:
            trials["trees"] = grown
        for name, batches in trials.items():
            setattr(self, name, True)
            try:
                same = _apart(self._trial_logits(batches), expected) < tolerance
            except Exception:  # what a model raises on inputs it does not know is its own affair
                same = False
            setattr(self, name, same)

    def _trial_logits(self, batches: list[Batch]) -> torch.Tensor:
        """Of the scored positions in the order of queries and their targets."""
        owners = torch.cat([batch.owners for batch in batches])
        found = [self.logits(batch) for batch in batches]
        logits = torch.cat([rows[where].float().cpu() for rows, where in found])
        return logits[owners.argsort(stable=True)]


@contextmanager
def _only(model: Any, places: torch.Tensor) -> Iterator[None]:
    """Let the head see the hidden states at `places` only, as one row.

    Raises RuntimeError where the model has no head of its own that it calls once.
    """
    calls = 0

    def pick(_: Any, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        nonlocal calls
        calls += 1
        return (inputs[0].flatten(0, 1)[None, places], *inputs[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()
    if calls != 1:
        raise RuntimeError(f"the head was called {calls} times")


def _seen(
    exits: torch.Tensor, depths: torch.Tensor, prefix: int, window: int | None
) -> torch.Tensor:
    """Which places each token of a row may see: the prefix, its ancestors and itself."""
    rows, size = exits.shape
    places = torch.arange(size, device=exits.device)
    seen = (places[None, :] <= places[:, None]) & (places[:, None] < exits[:, None, :])
    seen = torch.cat([seen.new_ones(rows, size, prefix), seen], dim=-1)
    if window:
        before = torch.arange(-prefix, 0, device=exits.device).expand(rows, prefix)
        keys = torch.cat([before, depths], dim=-1)
        seen &= depths[:, :, None] - keys[:, None, :] < window
    return seen


def _scores(
    logits: torch.Tensor, where: torch.Tensor, targets: torch.Tensor, dtype: torch.dtype | None
) -> Scores:
    """Of the first of the likeliest tokens, as lm-eval does, the target is the greedy one."""
    chosen = logits.new_empty(len(where), dtype=dtype or logits.dtype)
    greedy = torch.zeros(len(where), dtype=torch.bool, device=logits.device)
    size = _of(SLICES, logits.device)
    for start in range(0, len(logits), size):
        logs = logits[start : start + size].log_softmax(-1, dtype=dtype)
        asked = ((where >= start) & (where < start + size)).nonzero()[:, 0]
        rows, wanted = where[asked] - start, targets[asked]
        chosen[asked] = logs[rows, wanted]
        likeliest = chosen[asked] == logs.amax(-1)[rows]
        rows, wanted, asked = rows[likeliest], wanted[likeliest], asked[likeliest]
        greedy[asked] = logs[rows].float().argmax(-1) == wanted  # in 16 bits it is slow on a CPU
    return Scores(chosen.cpu(), greedy.cpu())


def _tokens_that_fit(model: Any) -> int:
    """Tokens of a batch: what half of the free memory holds, as a power of 2, or what pays.

    A token holds logits in two dtypes at most, and the activations of one block.
    """
    config = model.config.get_text_config()
    held: int = 8 * config.vocab_size + 64 * config.hidden_size
    fit = _free_bytes(model.device) // 2 // held
    pays = _of(PAYS, model.device) * (torch.get_num_threads() if model.device.type == "cpu" else 1)
    return min(pays, 1 << max(fit, 1).bit_length() - 1)


def _of(sizes: dict[str, int], device: torch.device) -> int:
    return sizes["cpu" if device.type == "cpu" else "cuda"]


def _free_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return allowance.available_bytes()
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + cached


def _trial(vocabulary: int, longest: int) -> list[Query]:
    """Two questions under one beginning, with endings that part early and late, and a third one.

    Cut from the left to the `longest` that the model takes.
    """
    dice = torch.Generator().manual_seed(0)
    drawn = torch.randint(vocabulary, (PREFIX + 40,), generator=dice).tolist()
    start, rest = drawn[:PREFIX], drawn[PREFIX:]
    endings = [rest[:4] + rest[8:12], rest[:4] + rest[12:15], rest[4:8] + rest[16:20]]
    whole = [[*start, *ending] for ending in endings] + [rest[20:]]
    cut = [tokens[-longest:] for tokens in whole]
    return [Query(tuple(tokens), tuple(tokens[-3:])) for tokens in cut]


def _apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Distance of log-probabilities, relative to how much the expected ones vary."""
    ours, theirs = found.log_softmax(-1), expected.log_softmax(-1)
    return float((ours - theirs).norm() / (theirs - theirs.mean(-1, keepdim=True)).norm())
