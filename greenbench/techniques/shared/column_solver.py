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

Current are the column's own block and, at the first column of a block, all that follow it.
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


def settled(weight: torch.Tensor, factor: torch.Tensor, width: int, settle: Settle) -> torch.Tensor:
    """`weight` (out, in) with every column as `settle` says, errors passed on in blocks of `width`.

    `factor` is what `inverse_factor` gave. The result is float32.
    """
    current = weight.detach().float().T.contiguous()  # rows of memory are columns of the weight
    columns = len(current)
    for start in range(0, columns, width):
        stop = min(start + width, columns)
        errors = torch.zeros_like(current[start:stop])
        for column in range(start, stop):
            values = settle(current, column)
            error = (current[column] - values) / factor[column, column]
            current[column] = values
            current[column + 1 : stop].addr_(factor[column, column + 1 : stop], error, alpha=-1)
            errors[column - start] = error
        current[stop:].addmm_(factor[start:stop, stop:].T, errors, alpha=-1)
    return current.T.contiguous()
