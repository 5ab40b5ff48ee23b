"""A linear layer that leaves out inputs near zero: what it does not multiply with, it does not read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Met:
    """Weights of all such layers in passes of one token."""

    weights: int = 0
    """That the token was multiplied with."""
    left_out: int = 0


class SparseColumns(nn.Module):
    """Computes ``weight @ x`` with every |x| below `threshold` taken for zero (TEAL, arXiv 2408.14690).

    The weight lies transposed, so that what one input is multiplied with is one piece of memory. For one
    token the pieces of the inputs that are left are summed as an embedding bag, whose kernel on the CPU
    reads them once and copies nothing. Passes of more tokens are one dense product, which gives the same.
    """

    def __init__(self, layer: nn.Linear, threshold: float, met: Met) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.weight = nn.Parameter(layer.weight.detach().T.contiguous(), requires_grad=False)
        """(in_features, out_features)"""
        self.bias = layer.bias
        self.threshold, self.met = threshold, met

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape (..., in_features) to (..., out_features)."""
        rows = inputs.flatten(0, -2)
        given = self._one(rows) if len(rows) == 1 else self._many(rows)
        if self.bias is not None:
            given = given + self.bias
        return given.view(*inputs.shape[:-1], self.out_features)

    def _one(self, row: torch.Tensor) -> torch.Tensor:
        places = (row[0].abs() >= self.threshold).nonzero()[:, 0]
        self.met.weights += len(places) * self.out_features
        self.met.left_out += (self.in_features - len(places)) * self.out_features
        return nn.functional.embedding_bag(
            places, self.weight, places.new_zeros(1), mode="sum", per_sample_weights=row[0, places]
        )

    def _many(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.masked_fill(rows.abs() < self.threshold, 0) @ self.weight
