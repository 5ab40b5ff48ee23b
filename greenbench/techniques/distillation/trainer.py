"""A teacher trains a student on text."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch

from greenbench.errors import UserError
from greenbench.techniques.distillation.budget import Cost, Training
from greenbench.techniques.distillation.checkpoints import Checkpoint, Ledger
from greenbench.techniques.distillation.losses import cross_entropy, divergence, hidden_distance
from greenbench.techniques.distillation.precision import accelerator, precision
from greenbench.techniques.technique import Preparation

CURVE = 200  # points of the loss curve that are kept
CLIP = 1.0  # the gradient's norm at most


def distill(
    student: Any,
    teacher: Any,
    training: Training,
    preparation: Preparation,
    origin: Sequence[int],
    key: str,
) -> None:
    """Train `student`, in place, to answer as `teacher` does; its block i came from ``origin[i]``.

    What it took and how it went is added to the preparation's details as ``distillation``. A
    process that was killed is continued where `preparation` has a workspace. `key` names the
    training in errors. Raises UserError where the budget cannot be kept or there is no text.
    """
    dtypes = [(weight, weight.dtype) for weight in student.parameters()]
    for weight, _ in dtypes:
        weight.data = weight.data.float()
        weight.requires_grad_(True)
    for ends in (student.get_input_embeddings(), student.get_output_embeddings()):
        ends.requires_grad_(training.embeddings)
    run = _Run(student.train(), teacher.eval(), training, preparation, origin, key)
    run.to_the_end()
    student.eval()
    for weight, dtype in dtypes:
        weight.data, weight.grad = weight.data.to(dtype), None
        weight.requires_grad_(True)
    preparation.details["distillation"] = run.told()
    run.leave()


class _Run:
    """One training: what it needs, its steps, and what it leaves."""

    def __init__(
        self,
        student: Any,
        teacher: Any,
        training: Training,
        preparation: Preparation,
        origin: Sequence[int],
        key: str,
    ) -> None:
        self._student, self._teacher = student, teacher
        self._training, self._preparation, self._key = training, preparation, key
        self._ledger = Ledger(preparation.workspace, preparation.energy_j)
        self._precision = precision(training.precision, student, preparation.device, key)
        self._accelerator = accelerator(self._precision, training.accumulation, preparation.device)
        self._pairs = training.pairs(origin, teacher.config.get_text_config().num_hidden_layers)
        self._windows = Windows(preparation, training.sequence)
        self._optimizer = self._accelerator.prepare_optimizer(
            torch.optim.AdamW(
                [weight for weight in student.parameters() if weight.requires_grad],
                weight_decay=0.0,
                fused=True,
            )
        )
        self._checkpoint = Checkpoint(preparation.workspace, training.checkpoint_s)
        self._losses: list[float] = []
        self._tokens = 0
        torch.manual_seed(preparation.seed)
        self._resumed_from = self._resume()

    def to_the_end(self) -> None:
        """Take steps until the budget is spent."""
        while (spent := self._spent()) < 1:
            self._preparation.progress(int(1000 * spent), 1000)
            self._losses.append(self._step(self._training.rate(spent)))
            self._ledger.note(now=self._checkpoint.keep(self._state))
        if not self._losses:
            raise UserError(
                f"{self._key} has a budget that is spent before the first step, so that nothing would be "
                "trained: give it more."
            )

    def told(self) -> dict[str, Any]:
        """What the record keeps."""
        cost = self._cost()
        return {
            "steps": len(self._losses),
            "tokens": cost.tokens,
            "text_tokens": self._windows.tokens,
            "seconds": cost.seconds,
            "energy_j": cost.energy_j,
            "precision": self._precision,
            "final_loss": _mean(self._losses[-max(len(self._losses) // 20, 1) :]),
            "loss_curve": _curve(self._losses),
            "resumed_from_step": self._resumed_from,
            "seconds_before_resuming": self._ledger.before_s,
            "energy_before_resuming_j": self._ledger.before_j,
        }

    def leave(self) -> None:
        """Remove what a killed process would have gone on from, or keep the result for the next time."""
        if self._preparation.again:
            self._checkpoint.keep(self._result, now=True)
            self._ledger.note(now=True)
        else:
            self._checkpoint.drop()
            self._ledger.drop()

    def _step(self, rate: float) -> float:
        """One step of the optimizer; its loss, the mean over the batches."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        losses = []
        first = len(self._losses) * self._training.accumulation
        for batch in range(first, first + self._training.accumulation):
            with self._accelerator.accumulate(self._student):
                ids = self._windows.batch(batch, self._training.batch_size)
                loss = self._loss(ids)
                self._accelerator.backward(loss)
                if self._accelerator.sync_gradients:
                    self._accelerator.clip_grad_norm_(self._student.parameters(), CLIP)
                self._optimizer.step()
                self._optimizer.zero_grad()
            self._tokens += ids.numel()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def _loss(self, ids: torch.Tensor) -> torch.Tensor:
        training = self._training
        look = {"use_cache": False, "output_hidden_states": training.hidden > 0}
        with self._accelerator.autocast():
            with torch.no_grad():
                theirs = self._teacher(ids, **look)
            ours = self._student(ids, **look)
        loss = divergence(ours.logits, theirs.logits, training.temperature)
        if training.cross_entropy:
            loss = loss + training.cross_entropy * cross_entropy(ours.logits, ids)
        if training.hidden:
            distance = hidden_distance(ours.hidden_states, theirs.hidden_states, self._pairs)
            loss = loss + training.hidden * distance
        return loss

    def _spent(self) -> float:
        """Share of the budget."""
        cost, joules = self._cost(), self._training.joules
        if joules is not None and cost.energy_j is None:
            raise UserError(
                f"{self._key}.joules={joules:g} cannot be kept, as no meter answers: set "
                f"{self._key}.minutes or {self._key}.tokens instead."
            )
        return self._training.spent(cost)

    def _cost(self) -> Cost:
        return Cost(self._tokens, *self._ledger.spent())

    def _state(self) -> dict[str, Any]:
        """All that the next step depends on; text and learning rate follow from the step."""
        return {
            "student": self._student.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "losses": self._losses,
            "tokens": self._tokens,
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def _result(self) -> dict[str, Any]:
        """What is left of a training that is over: no step follows that would need the rest."""
        return self._state() | {"optimizer": None}

    def _resume(self) -> int | None:
        """Go on where a killed process was; the step, or null for a start from the beginning."""
        state = self._checkpoint.load()
        if state is None:
            return None
        self._student.load_state_dict(state["student"])
        if state["optimizer"] is not None:
            self._optimizer.load_state_dict(state["optimizer"])
        self._losses, self._tokens = state["losses"], state["tokens"]
        torch.set_rng_state(state["random"])
        if state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])
        return len(self._losses)


class Windows:
    """Training text in windows of equal length; which window comes when follows from the seed."""

    def __init__(self, preparation: Preparation, length: int) -> None:
        """Raises UserError where the text has not even two tokens."""
        self._seed, self._device = preparation.seed, preparation.device
        joined = torch.cat(list(_tokenized(preparation)) or [torch.empty(0, dtype=torch.long)])
        self.tokens = len(joined)
        if self.tokens < 2:
            raise UserError("There is no text to distil on: the calibration text is empty.")
        length = min(length, self.tokens)
        count = self.tokens // length
        self._windows = joined[: count * length].view(count, length)

    def batch(self, index: int, size: int) -> torch.Tensor:
        """Batch `index` of `size` windows: token ids (size, length)."""
        count = len(self._windows)
        places = (divmod(place, count) for place in range(index * size, (index + 1) * size))
        rows = [_order(self._seed, epoch, count)[place] for epoch, place in places]
        return self._windows[rows].to(self._device)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> list[int]:
    """The order of `count` windows in one pass over the text."""
    return random.Random(f"{seed}:{epoch}").sample(range(count), count)


def _tokenized(preparation: Preparation) -> Iterator[torch.Tensor]:
    """Each text's tokens, and its end where the tokenizer has a token for it."""
    end = getattr(preparation.tokenizer, "eos_token_id", None)
    for text in preparation.calibration():
        yield preparation.tokenizer(text, return_tensors="pt")["input_ids"][0]
        if end is not None:
            yield torch.tensor([end])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _curve(losses: Sequence[float]) -> list[list[float]]:
    """The loss by step, in at most CURVE points: each the last step of a stretch and its mean."""
    size = -(-len(losses) // CURVE) or 1
    stretches = [losses[start : start + size] for start in range(0, len(losses), size)]
    return [
        [min((index + 1) * size, len(losses)), sum(stretch) / len(stretch)]
        for index, stretch in enumerate(stretches)
    ]
