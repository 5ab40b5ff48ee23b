"""A gated MLP cut into experts: which neurons go together, and a router that knows where the most happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import nn

ROUNDS = 8  # of clustering: later ones move next to nothing
RIDGE = 1e-2  # of the router's regression, as a share of the mean square of its inputs
SPREAD = 0.01  # of the router's logits at first: they order the experts, and let those chosen weigh the same


class Parts(NamedTuple):
    """The experts of one block."""

    neurons: torch.Tensor
    """Places in the MLP that each takes: (experts, neurons)."""
    router: torch.Tensor
    """(experts, width)"""


@torch.no_grad()
def clusters(gate: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """Neurons in `count` groups of one size, alike in what they answer to (as MoEfication, arXiv 2110.01786).

    `gate` is (neurons, width); returns places (count, neurons / count), each group's in order.
    """
    rows = nn.functional.normalize(gate.float(), dim=-1)
    dice = torch.Generator().manual_seed(seed)
    centres = rows[torch.randperm(len(rows), generator=dice)[:count].to(rows.device)]
    for _ in range(ROUNDS):
        groups = _evenly((rows @ centres.T).cpu()).to(rows.device)
        centres = nn.functional.normalize(rows[groups].mean(dim=1), dim=-1)
    return groups


def _evenly(likeness: torch.Tensor) -> torch.Tensor:
    """Each row goes where it is most alike, the most alike first, until a group is full."""
    rows, count = likeness.shape
    size = rows // count
    groups: list[list[int]] = [[] for _ in range(count)]
    placed = [False] * rows
    for place in likeness.flatten().argsort(descending=True, stable=True).tolist():
        row, group = divmod(place, count)
        if not placed[row] and len(groups[group]) < size:
            groups[group].append(row)
            placed[row] = True
    return torch.tensor([sorted(group) for group in groups])


@torch.no_grad()
def split(
    model: Any, mlps: Sequence[Any], count: int, batches: Sequence[torch.Tensor], seed: int
) -> list[Parts]:
    """Cut each of `mlps` into `count` experts; their routers are fitted to how much each expert gives.

    By ridge regression on what the MLPs are given for `batches` of token ids: a token's inputs tell the
    norm of what each group's neurons add, as if they were orthogonal.
    """
    groups = [clusters(mlp.gate_proj.weight, count, seed) for mlp in mlps]
    fits = [_Fit(mlp, each) for mlp, each in zip(mlps, groups, strict=True)]
    with ExitStack() as stack:
        for mlp, fit in zip(mlps, fits, strict=True):
            stack.callback(mlp.register_forward_pre_hook(fit.note).remove)
        for batch in batches:
            model(batch, use_cache=False)
    return [Parts(each, fit.router()) for each, fit in zip(groups, fits, strict=True)]


class _Fit:
    """One router's regression."""

    def __init__(self, mlp: Any, groups: torch.Tensor) -> None:
        self._mlp, self._groups = mlp, groups
        width, device = mlp.gate_proj.in_features, mlp.gate_proj.weight.device
        self._size = mlp.down_proj.weight.float().square().sum(0)
        self._squares = torch.zeros(width, width, device=device)
        self._products = torch.zeros(width, len(groups), device=device)
        self._tokens = 0

    @property
    def note(self) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        """What sees the MLP's inputs."""

        def see(mlp: Any, args: tuple[Any, ...]) -> None:
            given = args[0].flatten(0, -2)
            active = (mlp.act_fn(mlp.gate_proj(given)) * mlp.up_proj(given)).float()
            norms = (active.square() * self._size)[:, self._groups].sum(-1).sqrt()
            plain = given.float()
            self._squares.addmm_(plain.T, plain)
            self._products.addmm_(plain.T, norms - norms.mean(-1, keepdim=True))
            self._tokens += len(plain)

        return see

    def router(self) -> torch.Tensor:
        """(experts, width), with logits of a spread of about `SPREAD` on the text seen."""
        squares = self._squares / max(self._tokens, 1)
        ridge = RIDGE * squares.diagonal().mean() * torch.eye(len(squares), device=squares.device)
        slope: torch.Tensor = torch.linalg.solve(
            squares + ridge, self._products / max(self._tokens, 1)
        )
        spread = ((slope.T @ squares) * slope.T).sum(-1).mean().sqrt()
        return slope.T * (SPREAD / spread.clamp(min=1e-12))
