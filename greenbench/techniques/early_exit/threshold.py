"""The boldest threshold that surely keeps to a stated agreement (learn then test, arXiv 2110.01052).

As CALM (arXiv 2207.07061) does: thresholds are tested from the most cautious on, each by a valid p-value
on held-out text, until one fails; with probability 1 - delta the last that passed disagrees with the
full model on at most the stated share of tokens. Tokens of one passage depend on one another, so a
passage is the unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch

SHARES = (0.0, 0.03, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)
"""Candidates: thresholds that, on other text, would spend these shares of the disagreement allowed by
wrong exits alone. What the states of exited tokens do to later ones takes as much again on many models;
on a small one it took ten times as much, so the first candidates leave all of it to that."""
GRID = 200


class Tested(NamedTuple):
    """One threshold, and how far to trust that its mean loss is below the risk."""

    threshold: float
    loss: float
    p_value: float


def p_value(losses: Sequence[float], risk: float, delta: float) -> float:
    """Of the hypothesis that the mean of independent `losses` (0 to 1) is `risk` or more.

    One over the greatest wealth of a gambler who bets against it, whose stakes look only back; it is
    at most delta with probability at most delta under the hypothesis (Waudby-Smith and Ramdas, arXiv
    2010.09686, section 4). Unlike Hoeffding-Bentkus it gains from losses that vary little.
    """
    wealth = best = 1.0
    total, squares = 0.5, 0.25  # as if one loss of 0.5, with variance 0.25, had come before
    for count, loss in enumerate(losses, start=1):
        stake = math.sqrt(2 * math.log(1 / delta) / (len(losses) * squares / count))
        wealth *= 1 - min(stake, 0.9 / (1 - risk)) * (loss - risk)
        best = max(best, wealth)
        total += loss
        squares += (loss - total / (count + 1)) ** 2
    return 1 / best


def choose(
    candidates: Sequence[float],
    losses: Callable[[float], Sequence[float]],
    risk: float,
    delta: float,
) -> list[Tested]:
    """Test `candidates`, most cautious first, until one fails; each but a failed last one passed."""
    tested: list[Tested] = []
    for threshold in candidates:
        found = losses(threshold)
        tested.append(Tested(threshold, sum(found) / len(found), p_value(found, risk, delta)))
        if tested[-1].p_value > delta:
            break
    return tested


def candidates(
    sure: Mapping[int, torch.Tensor], right: Mapping[int, torch.Tensor], risk: float
) -> list[float]:
    """Thresholds worth testing, most cautious first, from other text than they are tested on.

    Per exit, in order of depth, the confidence and rightness of the same tokens.
    """
    pooled = sorted(torch.cat(list(sure.values())).tolist(), reverse=True)
    grid = sorted(set(pooled[:: max(1, len(pooled) // GRID)]), reverse=True)
    losses = [predicted_loss(sure, right, threshold) for threshold in grid]
    found: list[float] = []
    for share in SHARES:
        passing = 0
        while passing < len(grid) and losses[passing] <= share * risk:
            passing += 1
        if passing and grid[passing - 1] not in found:
            found.append(grid[passing - 1])
    return found


def predicted_loss(
    sure: Mapping[int, torch.Tensor], right: Mapping[int, torch.Tensor], threshold: float
) -> float:
    """Share of tokens whose first exit at `threshold` is wrong, were their context's states exact."""
    waiting = torch.ones_like(next(iter(right.values())), dtype=torch.bool)
    wrong = torch.zeros_like(waiting)
    for exit in sorted(sure):
        leaves = waiting & (sure[exit] >= threshold)
        wrong |= leaves & ~right[exit]
        waiting &= ~leaves
    return float(wrong.float().mean())
