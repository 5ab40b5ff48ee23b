"""Optimal Brain Surgeon, one column at a time for all rows at once: what SparseGPT and GPTQ share.

Both settle a weight matrix column by column, to zero or to a grid, and let the columns not yet settled
make up for the error in the layer's output (OBQ, arXiv 2208.11580; GPTQ, arXiv 2210.17323, sec. 3.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

BLOCK = 128
"""Columns after which the rest of the matrix is brought up to date, as in both papers."""
Settle = Callable[[torch.Tensor, int], torch.Tensor]
"""Takes the current weights, transposed to (in, out), and a column's index; gives its values, (out,).

Current are the columns from that one on to the block's end; at the first of a block, all that follow it.
"""


def inverse_factor(gram: torch.Tensor, percdamp: float) -> torch.Tensor:
    """The upper triangular U with U^T U = (gram + damping)^-1, shape (in, in).

    The damping is `percdamp` times the mean of the diagonal; features that never fire get it alone.
    Row i of U, divided by its diagonal, is row i of the inverse Hessian once columns before i are gone.
    """
    level = percdamp * gram.diagonal().mean()
    damping = torch.where(level > 0, level, torch.ones_like(level))
    damped = gram + damping * torch.eye(len(gram), device=gram.device)
    # With order reversed, H = R R^T for an upper R, and U = R^-1: the inverse is never formed.
    reverse = torch.linalg.cholesky(damped.flip(0, 1)).flip(0, 1)
    unit = torch.eye(len(gram), device=gram.device)
    factor: torch.Tensor = torch.linalg.solve_triangular(reverse, unit, upper=True)
    return factor


def block_width(span: int) -> int:
    """The block nearest to BLOCK such that spans of columns never straddle where a block begins."""
    return span * (BLOCK // span) if span <= BLOCK else math.gcd(span, BLOCK)


def settle_columns(weight: torch.Tensor, factor: torch.Tensor, width: int, settle: Settle) -> None:
    """Settle every column of `weight` (out, in) in its order, errors passed on in blocks of `width`.

    `factor` is what `inverse_factor` gave; `settle` keeps what it gives, in float32 or less.

    What a column is rounded to decides what the next is rounded from, so that within a block they follow
    each other: no product does a block at once, as one does with the columns behind it. So each column is a
    step of Python, for all rows, whose time on a GPU is that of launching kernels: three, beside those of
    `settle`. One kernel for a whole block would add up in another order and give other bits; a CUDA graph of
    a block would give the same, and has not been tried on a card.
    """
    rows = torch.contiguous_format  # of memory: columns of the weight
    current = weight.detach().float().T.clone(memory_format=rows)
    for start in range(0, len(current), width):
        stop = start + width
        block, within = current[start:stop], factor[start:stop, start:stop]
        pivots = within.diagonal().unbind()
        for place, (column, pivot) in enumerate(zip(block.unbind(), pivots, strict=True)):
            # What is settled is of no use any more: its error takes its place.
            column.sub_(settle(current, start + place)).div_(pivot)
            block[place + 1 :].addr_(within[place, place + 1 :], column, alpha=-1)
        current[stop:].addmm_(factor[start:stop, stop:].T, block, alpha=-1)
