"""Draws of several runs' places, drawn towards each other as far as nothing tells them apart."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

Array = npt.NDArray[np.float64]
LEAST_RUNS: Final = 3
"""Of fewer nobody knows how far true places lie apart."""
PRIOR_FREEDOM: Final = 4
MOST_MOVED: Final = 1.5
"""In its own errors."""
SPREADS: Final = np.linspace(-8.0, 16.0, 97)
"""Of the true places, as logarithms of their variance over the runs' own."""


def moderated(draws: Array, counts: Sequence[int]) -> Array:
    """Draws of means of so many values each, with spreads drawn towards the usual one; (draws, runs) both.

    The spread of five values is in doubt itself: of many runs the one whose values happen to agree would be
    believed too much. Variances are moderated as by G. K. Smyth (Stat. Appl. Genet. Mol. Biol. 3 (2004) 3),
    towards their geometric mean as if by `PRIOR_FREEDOM` more values. Means of fewer than two stay.
    """
    mean, spread = draws.mean(axis=0), draws.var(axis=0)
    freedom = np.array(counts) - 1
    able = (freedom > 0) & (spread > 0)
    if able.sum() < LEAST_RUNS:
        return draws
    usual = np.exp(np.log(spread[able]).mean())
    wanted = (freedom[able] * spread[able] + PRIOR_FREEDOM * usual) / (
        freedom[able] + PRIOR_FREEDOM
    )
    result = draws.copy()
    result[:, able] = mean[able] + (draws[:, able] - mean[able]) * np.sqrt(wanted / spread[able])
    return result


class _Spread(NamedTuple):
    """The runs' true places, were they normal with one variance."""

    weight: float
    """Logarithm of how likely that variance is."""
    between: float
    """The variance."""
    mean: float
    doubt: float
    """Standard error of `mean`."""


def shrunk(
    draws: npt.NDArray[np.floating],
    rng: np.random.Generator,
    alike: Sequence[Hashable] | None = None,
) -> Array:
    """Draws of the true places of runs, from draws around what was seen of them; (draws, runs) both.

    A resample spreads around a value that chance has moved already, so that the luckiest of near-equal runs
    is believed too much. True places are taken as normal, with a mean and a variance of which nothing is
    known but what all runs show: the posterior of the hierarchical model of C. N. Morris (J. Am. Stat. Assoc.
    78 (1983) 47), with the uniform shrinkage prior (M. J. Daniels, Can. J. Stat. 27 (1999) 567) and the
    errors' covariance that the draws have. Runs that are far apart for their errors keep their draws. So do
    those without an error, as where every answer is the baseline's, and all where fewer than three have any.
    None is moved by more than `MOST_MOVED` (limited translation: B. Efron and C. N. Morris, J. Am. Stat.
    Assoc. 67 (1972) 130), so that one far from others that are near each other is not drawn in with them.
    Runs that are `alike` by name, as they gave the same answers, say only once how far true places lie apart.
    """
    result = draws.astype(np.float64)
    low, high = result.min(axis=0), result.max(axis=0)
    able = np.flatnonzero(np.isfinite(low) & np.isfinite(high) & (high > low))
    columns: dict[bytes, int] = {}  # runs whose draws are the same stay so, to the last bit
    same = [columns.setdefault(result[:, run].tobytes(), len(columns)) for run in able]
    free = able[[same.index(column) for column in range(len(columns))]]
    names = range(len(low)) if alike is None else alike
    firsts = {names[run]: place for place, run in reversed([*enumerate(free.tolist())])}
    once = sorted(firsts.values())
    if len(once) < LEAST_RUNS:
        return result
    seen = result[:, free].mean(axis=0)
    away = result[:, free] - seen
    errors, axes = _axes(np.cov(away, rowvar=False))
    found = _spreads(np.cov(away[:, once], rowvar=False), seen[once])
    weights = np.array([each.weight for each in found])
    shares = np.exp(weights - logsumexp(weights))
    drawn = [found[place] for place in rng.choice(len(found), len(draws), p=shares / shares.sum())]
    between = np.array([each.between for each in drawn])[:, None]
    doubt = np.array([each.doubt for each in drawn]) * rng.standard_normal(len(draws))
    mean = (np.array([each.mean for each in drawn]) + doubt)[:, None]
    pull = between / (between + errors)  # by axis, the share of what was seen that is believed
    turned = pull * ((seen - mean) @ axes) + np.sqrt(pull) * (away @ axes)
    pulled = (mean + turned @ axes.T) - result[:, free]
    moved = np.abs(pulled.mean(axis=0))
    limit = MOST_MOVED * away.std(axis=0)
    pulled *= np.where(moved > limit, limit / np.maximum(moved, limit), 1.0)
    result[:, able] = (result[:, free] + pulled)[:, same]
    return result


def _axes(covariance: Array) -> tuple[Array, Array]:
    """Variances of errors that do not go together, and their directions; none is 0."""
    errors, axes = np.linalg.eigh(covariance)
    return np.maximum(errors, 1e-6 * errors.max()), axes


def _spreads(covariance: Array, seen: Array) -> list[_Spread]:
    """Each of `SPREADS`, by its marginal likelihood with a flat prior of the mean, and Daniels' of itself."""
    errors, axes = _axes(covariance)
    own = float(1 / np.mean(1 / np.diag(covariance)))
    along, ones = axes.T @ seen, axes.sum(axis=0)
    found = []
    for log in SPREADS:
        between = own * np.exp(log)
        total = between + errors
        precision = float((ones**2 / total).sum())
        mean = float((ones * along / total).sum()) / precision
        rest = float(((along - mean * ones) ** 2 / total).sum())
        share = own / (own + between)
        prior = np.log(share * (1 - share))  # uniform in the share, by steps of the logarithm
        weight = prior - (np.log(total).sum() + np.log(precision) + rest) / 2
        found.append(_Spread(float(weight), float(between), mean, precision**-0.5))
    return found
