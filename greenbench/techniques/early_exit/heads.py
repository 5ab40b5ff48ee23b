"""Exit heads on a frozen model: from a block's hidden state to the final layer's distribution.

As in tuned lens (arXiv 2303.08112): a residual translator, then the model's own final norm and output
head; trained on the divergence from the final layer's distribution, on states computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from greenbench.techniques.early_exit.features import Ends, Features

HEADS = ("lens", "low_rank", "affine")
LEARNING_RATE = 1e-3
TOKENS_A_STEP = 128
RIDGE = 0.01
GATE_STEPS, GATE_RATE, GATE_DECAY = 200, 1e-2, 0.1
CHUNK = 512  # rows whose logits are held at once


class ExitHead(nn.Module):
    """Translates hidden states (..., width) of one block to those of the last, and judges itself.

    Untrained, it is the identity: the logit lens. Its matrices are plain parameters, as a technique
    that replaces the model's linear layers is not to replace these.
    """

    def __init__(self, width: int, kind: str, rank: int) -> None:
        super().__init__()
        self.bias, self.down, self.up = None, None, None
        if kind != "lens":
            inner = width if kind == "affine" else rank
            self.bias = nn.Parameter(torch.zeros(width))
            self.up = nn.Parameter(torch.zeros(inner, width))
        if kind == "low_rank":
            self.down = nn.Parameter(torch.randn(width, rank) / width**0.5)
        self.gate = nn.Parameter(torch.zeros(width + 1))

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """The state as the last block would leave it, before the final norm."""
        if self.up is None or self.bias is None:
            return state
        inner = state if self.down is None else state @ self.down
        return state + inner @ self.up + self.bias

    def like(self, state: torch.Tensor) -> torch.Tensor:
        """The translated state in the state's own type, also while the head is trained in float32."""
        translated: torch.Tensor = self(state.to(self.gate.dtype))
        return translated.to(state.dtype)

    def odds(self, normed: torch.Tensor) -> torch.Tensor:
        """Log-odds that its token is the last layer's, from normed translated states."""
        gate = self.gate.float()
        return normed.float() @ gate[:-1] + gate[-1]

    @torch.no_grad()
    def solve(self, states: torch.Tensor, last: torch.Tensor) -> None:
        """Set the translator to the ridge regression of the last block's states on these (rows, width)."""
        if self.up is None or self.bias is None:
            return
        states, step = states.float(), last.float() - states.float()
        centre, mean = states.mean(dim=0), step.mean(dim=0)
        squares = (states - centre).T @ (states - centre)
        squares += RIDGE * torch.diag(squares.diagonal() + squares.diagonal().mean() * 1e-3)
        slope = torch.linalg.solve(squares, (states - centre).T @ (step - mean))
        self.bias.copy_(mean - centre @ slope)
        if self.down is None:
            self.up.copy_(slope)
            return
        fitted = (states - centre) @ slope  # the best of that rank keeps its main directions
        kept = torch.linalg.eigh(fitted.T @ fitted).eigenvectors[:, -self.down.shape[1] :]
        self.down.copy_(slope @ kept)
        self.up.copy_(kept.T)

    def translator(self) -> list[nn.Parameter]:
        """What is trained on the divergence; empty for the logit lens."""
        return [weight for weight in (self.bias, self.down, self.up) if weight is not None]


def size(width: int, kind: str, rank: int) -> int:
    """Parameters of one exit head."""
    translator = {"lens": 0, "low_rank": 2 * width * rank + width, "affine": width * width + width}
    return translator[kind] + width + 1


def attach(model: Any, heads: Sequence[ExitHead]) -> None:
    """Make trained `heads` part of the model, in its dtype; they count as its bytes."""
    model.exit_heads = nn.ModuleList(head.to(model.dtype) for head in heads)


def train(
    heads: dict[int, ExitHead],
    ends: Ends,
    found: Features,
    steps: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> dict[int, float]:
    """Fit the translators to the final layer's distribution; returns each exit's divergence in nats.

    They start from the least-squares solution, which costs almost nothing and is worth hundreds of
    steps. All exits see the same tokens, so the final distribution is computed once a step. The gates
    then learn, on a quarter of the text that is kept from the translators, where a head's token is
    the final layer's; the divergence is that quarter's.
    """
    dice = torch.Generator().manual_seed(seed)
    taught = [weight for head in heads.values() for weight in head.translator()]
    cut = len(found.final) - len(found.final) // 4
    for exit, head in heads.items():
        head.solve(found.states[exit][:cut], found.last[:cut])
    for step in range(steps if taught else 0):
        if step == 0:
            optimizer = torch.optim.Adam(taught)
        rows = torch.randint(cut, (TOKENS_A_STEP,), generator=dice)
        losses = divergences(heads, ends, found.rows(rows))
        total = torch.stack(list(losses.values())).sum()
        for weight, slope in zip(taught, torch.autograd.grad(total, taught), strict=True):
            weight.grad = slope
        torch.nn.utils.clip_grad_norm_(taught, 1.0)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
        optimizer.step()
        progress(step + 1, steps)
    held = found.rows(torch.arange(cut, len(found.final)))
    for exit, head in heads.items():
        _train_gate(head, ends, held.states[exit], held.final)
    with torch.no_grad():
        losses = divergences(heads, ends, held)
    return {exit: loss.item() for exit, loss in losses.items()}


def divergences(heads: dict[int, ExitHead], ends: Ends, found: Features) -> dict[int, torch.Tensor]:
    """Per exit, the mean over tokens of KL(final layer, exit), in nats."""
    with torch.no_grad():
        wanted = ends.output(found.final).float().log_softmax(dim=-1)
    return {
        exit: functional.kl_div(
            ends.logits(head.like, found.states[exit]).float().log_softmax(dim=-1),
            wanted,
            log_target=True,
            reduction="batchmean",
        )
        for exit, head in heads.items()
    }


@torch.no_grad()
def agrees(head: ExitHead, ends: Ends, states: torch.Tensor, final: torch.Tensor) -> torch.Tensor:
    """Whether the head's likeliest token is the final layer's, per row."""
    pairs = zip(chunks(states), chunks(final), strict=True)
    return torch.cat(
        [
            ends.logits(head.like, s).argmax(dim=-1) == ends.output(f).argmax(dim=-1)
            for s, f in pairs
        ]
    )


def chunks(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    """`rows` in parts whose logits fit beside the model."""
    return (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))


def _train_gate(head: ExitHead, ends: Ends, states: torch.Tensor, final: torch.Tensor) -> None:
    """Logistic regression of `agrees` on the normed translated states, a little regularized."""
    right = agrees(head, ends, states, final).float()
    with torch.no_grad():
        seen = ends.norm(head.like(states)).float()
    optimizer = torch.optim.AdamW([head.gate], lr=GATE_RATE, weight_decay=GATE_DECAY)
    for _ in range(GATE_STEPS):
        loss = functional.binary_cross_entropy_with_logits(head.odds(seen), right)
        (head.gate.grad,) = torch.autograd.grad(loss, [head.gate])
        optimizer.step()
