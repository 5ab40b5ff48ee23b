"""A model in training: it takes steps, and says its loss on held-out text."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from greenbench.engines.engine import Completion
from greenbench.engines.transformers.compiled import forget_graphs
from greenbench.models.weights import storage_bytes
from greenbench.schema.training.spec import TrainingSpec
from greenbench.techniques.distillation.precision import accelerator, precision
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
        self._compiler = ExitStack()
        if plan.compiled:
            self._compiler.enter_context(_compiling_anew())
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
        """Let go of the model and what was compiled of it, whoever holds on to this."""
        self._compiler.close()
        self._model = self._run = self._optimizer = self._accelerator = None

    @property
    def trained(self) -> int:
        """Parameters that are."""
        return sum(weight.numel() for weight in trained(self._model))

    def step(self) -> Completion:
        """One step of the optimizer; its tokens are those of the text that it read."""
        began_s = time.perf_counter()
        self._model.train()
        taken = list(islice(self._batches, self._plan.accumulation))
        read = sum(batch.tokens for batch in taken)
        predicted = sum(batch.predicted for batch in taken)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * self._warmth(self.tokens + read)
        for batch in taken:
            on_device = batch.to(self._device)
            with self._accelerator.autocast():
                nats = _nats(self._run, on_device)
            (nats / predicted).backward()  # type: ignore[no-untyped-call]
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
            with self._accelerator.autocast():
                nats += float(_nats(self._model, batch.to(self._device)))
            tokens += batch.predicted
        mean = nats / tokens
        return mean if math.isfinite(mean) else None

    def _warmth(self, tokens: int) -> float:
        """Share of the learning rate once so many are read, those of the step among them."""
        return min(1.0, tokens / (WARM * self._budget.tokens))


def baseline(training: TrainingSpec, model: Any) -> Plan:
    """Full fine-tuning with AdamW, of weights in float32, where `model` is now.

    Raises UserError for bfloat16 where the model's own code does not mix precisions.
    """
    asked = precision(training.precision, model, model.device, "training")
    return Plan(training.batch_size, "mixed_bfloat16" if asked == "bfloat16" else "float32")


@contextmanager
def _compiling_anew() -> Iterator[None]:
    """Nothing that was compiled before is there, in memory or on disk: each training pays for its own."""
    from torch._inductor.utils import fresh_cache

    forget_graphs()
    with fresh_cache():
        yield
    forget_graphs()


def _prepared(model: Any, plan: Plan) -> Any:
    model.config.use_cache = False
    model.requires_grad_(True)
    if plan.precision == "bfloat16":
        model = model.to(torch.bfloat16)
    if (
        plan.checkpointing
    ):  # first, as it asks for a gradient of all inputs: what is frozen needs none
        model.activation_checkpointing_enable({"use_reentrant": False})
    return model if plan.adapt is None else plan.adapt(model)


def _nats(model: Any, batch: Batch) -> torch.Tensor:
    """Cross entropy of the tokens that are predicted, summed in float32."""
    logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
    return functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1),
        batch.labels[:, 1:].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )


def encoder(tokenizer: Any) -> Any:
    """Tokens of a text, and its end where the tokenizer has a token for it."""
    end: Sequence[int] = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return lambda text: [*tokenizer(text)["input_ids"], *end]
