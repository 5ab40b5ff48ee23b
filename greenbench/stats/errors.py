"""Standard errors of a mean log-ratio: of its blocks, of the first of them, and of models in turn."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Logs: TypeAlias = npt.NDArray[np.float64]
Stays: TypeAlias = tuple[Sequence[int], Sequence[int]]
"""Of baseline and candidate, for each block the stay on the device in which it was measured: a model that is
loaded again begins another."""


class Error(NamedTuple):
    """A standard error of a mean, and the degrees of freedom that it was found with."""

    size: float
    freedom: int


def errors(values: Logs, first: int | None = None) -> list[Error]:
    """Of the mean of `values`: by all of them, and by the `first`, where these decided how many there are."""
    stages = [values] if first is None or not 2 <= first < values.size else [values, values[:first]]
    root = sqrt(values.size)
    return [Error(float(stage.std(ddof=1)) / root, stage.size - 1) for stage in stages]


def stay_error(sides: Sequence[Logs], stays: Stays) -> Error:
    """Of what the means of both `sides` differ by, each stay as one observation.

    What shifts a model's level as it is loaded (where its weights lie, which kernels are chosen) is common to
    all blocks of the stay, and these know nothing of it. One spread for the stays of both models, which are
    taken to differ alike; infinite where neither stayed twice.
    """
    squares, weight, freedom = 0.0, 0.0, 0
    for logs, own in zip(sides, stays, strict=True):
        _, places, counts = np.unique(own, return_inverse=True, return_counts=True)
        means = np.bincount(places, logs) / counts
        squares += float(((means - means.mean()) ** 2).sum())
        weight += float(((counts / logs.size) ** 2).sum())
        freedom += means.size - 1
    return Error(sqrt(squares / freedom * weight), freedom) if freedom else Error(inf, 1)
