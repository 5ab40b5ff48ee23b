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


def stay_errors(sides: Logs, stays: Stays | None, first: int | None = None) -> list[Error]:
    """Of what the means of both `sides` differ by: `stay_error` of all their blocks, and of the `first` where
    these decided how many turns there are. None without `stays`."""
    if stays is None:
        return []
    found = [stay_error(list(sides), stays)]
    if first is not None and 2 <= first < sides.shape[1]:
        began = stays[0][:first], stays[1][:first]
        found.append(stay_error(list(sides[:, :first]), began, stays))
    return [error for error in found if error.size < inf] or found[:1]


def stay_error(sides: Sequence[Logs], stays: Stays, of: Stays | None = None) -> Error:
    """Of what the means of both `sides` differ by, each stay as one observation beside a linear drift.

    What shifts a model's level as it is loaded (where its weights lie, which kernels are chosen) is common to
    all blocks of the stay, and these know nothing of it. One spread for the stays of both models, around a
    level of each and a slope over time, as a drift cancels in the difference; infinite where there are three
    stays or fewer. `of`: of the difference between means over other stays, which shift as much.
    """
    found: list[tuple[int, int, float, float]] = []  # when, whose, how many blocks, their mean
    for side, (logs, own) in enumerate(zip(sides, stays, strict=True)):
        numbers, places, counts = np.unique(own, return_inverse=True, return_counts=True)
        means = np.bincount(places, logs) / counts
        found += zip(numbers, [side] * len(numbers), counts, means, strict=True)
    _, whose, count, mean = np.array(sorted(found)).T
    freedom = len(found) - 3
    if freedom < 1:
        return Error(inf, 1)
    time = np.cumsum(count) - count / 2
    known = np.column_stack([whose == 0, whose == 1, time - time.mean()]).astype(float)
    rest = mean - known @ np.linalg.lstsq(known, mean, rcond=None)[0]
    shares = [np.unique(own, return_counts=True)[1] / len(own) for own in of or stays]
    return Error(
        sqrt(float(rest @ rest) / freedom * sum(float(each @ each) for each in shares)), freedom
    )
