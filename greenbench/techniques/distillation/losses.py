"""What a student is taught by: the teacher's logits, the text itself and the teacher's hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

ROWS = 64  # logits of so many tokens at once stay in a CPU's cache


class _Divergence(torch.autograd.Function):
    """KL from teacher to student, its gradient computed on the way: (q - p) T / tokens.

    Autograd would keep four float32 copies of the logits, which are larger than all else.
    """

    @staticmethod
    def forward(
        ctx: Any, student: torch.Tensor, teacher: torch.Tensor, temperature: float
    ) -> torch.Tensor:
        total = torch.zeros((), device=student.device)
        slope = torch.empty_like(student)
        for start in range(0, len(student), ROWS):
            rows = slice(start, start + ROWS)
            ours = (student[rows].float() / temperature).log_softmax(-1)
            theirs = (teacher[rows].float() / temperature).log_softmax(-1)
            likely = theirs.exp()
            total += (likely * (theirs - ours)).sum()
            slope[rows] = (ours.exp_() - likely).mul_(temperature / len(student))
        ctx.save_for_backward(slope)
        return total * temperature**2 / len(student)

    @staticmethod
    def backward(ctx: Any, *weight: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return slope * weight[0], None, None


def divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean KL(teacher || student) over tokens at `temperature`, times its square (arXiv 1503.02531).

    Logits are (..., vocabulary). The square keeps the gradient's size where the temperature rises.
    """
    size = student.shape[-1]
    pair = student.reshape(-1, size), teacher.reshape(-1, size)
    found: torch.Tensor = _Divergence.apply(*pair, temperature)  # type: ignore[no-untyped-call]
    return found


def cross_entropy(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of each next token; logits (batch, tokens, vocabulary)."""
    size = logits.shape[-1]
    return nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, size).float(), ids[:, 1:].reshape(-1)
    )


def hidden_distance(
    student: Sequence[torch.Tensor],
    teacher: Sequence[torch.Tensor],
    pairs: Sequence[tuple[int, int]],
) -> torch.Tensor:
    """Squared distance of hidden states relative to the teacher's, mean over tokens and `pairs`.

    Both are as transformers gives them: the embedding, then each block's output (batch, tokens,
    width). A pair is a block of the student and one of the teacher. Relative, because a few tokens
    have norms that would drown all others.
    """
    distances = []
    for ours, theirs in pairs:
        target = teacher[theirs + 1].float()
        apart = (student[ours + 1].float() - target).square().sum(-1)
        distances.append((apart / target.square().sum(-1)).mean())
    return torch.stack(distances).mean()
