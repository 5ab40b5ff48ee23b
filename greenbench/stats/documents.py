"""Items that share a document: how many that are by themselves they are worth."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from greenbench.stats.intervals import CONFIDENCE, t_quantile

Z: Final = float(ndtri((1 + CONFIDENCE) / 2))
AS_IF: Final = 0.25
"""Of a document that went whole, beside those that were seen to vary."""
Array = npt.NDArray[np.float64]


class Worth(NamedTuple):
    """What items that share documents are worth."""

    each: float
    """So many of them are worth one that has a document of its own."""
    reach: float
    """Standard errors of a 95 % interval: t by document, or z."""
    freedom: float
    """Degrees of freedom; infinite for z."""


def alone(values: Sequence[float] | Array, documents: Sequence[Hashable]) -> Worth:
    """The design effect of documents on a mean: their variance over that of items by themselves.

    At least 1, and at most the size of a document, as if all of one went alike; so much it is where
    the items do not vary, and counts as much as a quarter of a document that was seen to vary: few
    of those tell little. Rao and Scott, 1992, Biometrics 48:577; docs/calibration.md has coverage.
    """
    if not shared(documents):
        return Worth(1.0, Z, inf)
    found = np.asarray(values, dtype=float)
    sums, sizes = map(np.asarray, by_document(documents, found, np.ones(len(found))))
    most, apart, count = float((sizes**2).sum() / sizes.sum()), found - found.mean(), len(sums)
    others = by_document(documents, found != np.median(found), np.ones(len(found)))[0]
    seen = sum(each > 0 for each in others)
    each = most
    if seen and count > 1:
        between = float(((sums - found.mean() * sizes) ** 2).sum()) * count / (count - 1)
        each = min(max(between / float((apart**2).sum()), 1.0), most)
    each = (seen * each + AS_IF * most) / (seen + AS_IF)
    return Worth(each, t_quantile(max(count, 2)), max(count - 1, 1))


def shared(documents: Sequence[Hashable]) -> bool:
    """Whether any two items share a document."""
    return len(set(documents)) < len(documents)


def by_document(
    documents: Sequence[Hashable], values: Sequence[float] | Array, weights: Sequence[float] | Array
) -> tuple[list[float], list[float]]:
    """Sums of values and weights, document by document."""
    _, places = np.unique([str(document) for document in documents], return_inverse=True)
    sums = (np.bincount(places, np.asarray(column, dtype=float)) for column in (values, weights))
    first, second = (column.tolist() for column in sums)
    return first, second
