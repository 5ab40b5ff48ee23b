"""How sure an exit is of its token: 0 (not at all) to 1, from its logits or from hidden states alone.

A head over a whole vocabulary costs as much as several blocks of a small model, so measures that need
no logits are the cheap ones: they decide first, and only the rows that leave pay for a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch

Measure = Callable[[torch.Tensor], torch.Tensor]


def top1(logits: torch.Tensor) -> torch.Tensor:
    """Probability of the likeliest token, of logits (..., vocabulary)."""
    logits = logits.float()
    return (logits.amax(dim=-1) - logits.logsumexp(dim=-1)).exp()


def margin(logits: torch.Tensor) -> torch.Tensor:
    """Probability of the likeliest token less that of the next (CALM, arXiv 2207.07061, section 3.4)."""
    logits = logits.float()
    first, second = logits.topk(2, dim=-1).values.unbind(dim=-1)
    rest = logits.logsumexp(dim=-1)
    return (first - rest).exp() - (second - rest).exp()


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """1 less the entropy as a fraction of its maximum, the logarithm of the vocabulary's size."""
    logs = logits.float().log_softmax(dim=-1)
    nats = -(logs.exp() * logs).sum(dim=-1)
    return (1 - nats / math.log(logits.shape[-1])).clamp(0, 1)


def saturation(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Cosine of successive layers' hidden states (..., width), and 0 for a negative one (CALM)."""
    cosine = torch.nn.functional.cosine_similarity(before.float(), after.float(), dim=-1)
    return cosine.clamp(0, 1)


FROM_LOGITS: Mapping[str, Measure] = {"top1": top1, "margin": margin, "entropy": entropy}
CONFIDENCES = (*FROM_LOGITS, "saturation", "classifier")
"""`classifier` is an exit head's own trained estimate that it agrees with the last layer."""
