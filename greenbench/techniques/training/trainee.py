"""A model in training: it takes steps, and says its loss on held-out text."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from greenbench.engines.engine import Completion
from greenbench.models.weights import storage_bytes
from greenbench.schema.training.spec import TrainingSpec
from greenbench.techniques.distillation.precision import accelerator, native
from greenbench.techniques.recipe import Plan
from greenbench.techniques.training.batches import IGNORED, Batch, Texts, batches, padded
from greenbench.techniques.training.optimizers import adamw, trained

WARM = 0.05
"""Share of the baseline's tokens over which the learning rate rises; then it stays."""
CLIP = 1.0
"""The gradient's norm at most."""


class Budget(NamedTuple):
    """What both recipes have alike."""

    tokens: int
    """The baseline's."""
    sequence: int
    seed: int
    """Of the data order."""
    padding: int
    """The token that pads."""


class Trainee:
    """`model`, trained as `plan` says at the learning rate `rate`."""

    def __init__(
        self, model: Any, plan: Plan, rate: float, budget: Budget, text: Texts, held_out: Texts
    ) -> None:
        """`model` as it was loaded, in float32; it is changed in place."""
        torch.manual_seed(budget.seed)
        self._device = model.device
        self._plan, self._rate, self._budget, self._held_out = plan, rate, budget, held_out
        self._model = _prepared(model, plan)
        self._run = torch.compile(self._model) if plan.compiled else self._model
        mixed = "bfloat16" if plan.precision == "mixed_bfloat16" else "float32"
        self._accelerator = accelerator(mixed, plan.accumulation, self._device)
        self._optimizer = (plan.optimizer or adamw)(self._model, rate)
        self._batches = batches(
            text, budget.seed, plan.batch_size, budget.sequence, budget.padding,
            packed=plan.packed, whole=plan.compiled,
        )  # fmt: skip
        self.tokens = 0

    def body(self) -> tuple[int, int, dict[str, int]]:
        """Parameters, blocks, and bytes by storage dtype."""
        layers = self._model.config.get_text_config().num_hidden_layers
        return self._model.num_parameters(), layers, storage_bytes(self._model)

    def close(self) -> None:
        """Let go of the model, whoever holds on to this."""
        self._model = self._run = self._optimizer = self._accelerator = None

    @property
    def trained(self) -> int:
        """Parameters that are."""
        return sum(weight.numel() for weight in trained(self._model))

    def step(self) -> Completion:
        """One step of the optimizer; its tokens are those of the text that it read."""
        began_s = time.perf_counter()
        self._model.train()
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * self._warmth()
        read = 0
        for _ in range(self._plan.accumulation):
            batch = next(self._batches)
            read += batch.tokens
            on_device = batch.to(self._device)
            with self._accelerator.autocast():
                loss = _loss(self._run, on_device)
            (loss / self._plan.accumulation).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained(self._model), CLIP)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.tokens += read
        return Completion(read, 0, began_s, (), time.perf_counter())

    @torch.no_grad()
    def loss(self) -> float | None:
        """Mean nats a token on the held-out texts; null where it is no finite number."""
        self._model.eval()
        nats, tokens, size = 0.0, 0, self._plan.batch_size
        for first in range(0, len(self._held_out), size):
            places = range(first, min(first + size, len(self._held_out)))
            rows = [self._held_out[place][: self._budget.sequence] for place in places]
            batch = padded(rows, self._budget.padding)
            predicted = int((batch.labels[:, 1:] != IGNORED).sum())
            with self._accelerator.autocast():
                nats += float(_loss(self._model, batch.to(self._device))) * predicted
            tokens += predicted
        mean = nats / tokens
        return mean if math.isfinite(mean) else None

    def _warmth(self) -> float:
        """Share of the learning rate by now."""
        return min(1.0, max(self.tokens / (WARM * self._budget.tokens), 0.02))


def baseline(training: TrainingSpec, device: str) -> Plan:
    """Full fine-tuning with AdamW, of weights in float32."""
    asked = training.precision
    mixed = asked == "bfloat16" or (asked == "auto" and native(torch.device(device)))
    return Plan(training.batch_size, "mixed_bfloat16" if mixed else "float32")


def _prepared(model: Any, plan: Plan) -> Any:
    model.config.use_cache = False
    model.requires_grad_(True)
    if plan.precision == "bfloat16":
        model = model.to(torch.bfloat16)
    if plan.adapt is not None:
        model = plan.adapt(model)
    if plan.checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model


def _loss(model: Any, batch: Batch) -> torch.Tensor:
    """Mean cross entropy of the next token, in float32."""
    logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
    return functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), batch.labels[:, 1:].flatten(), ignore_index=IGNORED
    )


def encoder(tokenizer: Any) -> Any:
    """Tokens of a text, and its end where the tokenizer has a token for it."""
    end: Sequence[int] = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return lambda text: [*tokenizer(text)["input_ids"], *end]
