"""What a device that nobody measured would show: ratios of other devices, carried over with their doubt.

A linear mixed model of log-ratios: an intercept, slopes of standardized features, a deviation of each device
(tau) and one of each setting (sigma), beside the error that each ratio was measured with. The two spreads are
integrated over a grid, so that few devices give wide intervals (A. Gelman and J. Hill, Data Analysis Using
Regression and Multilevel/Hierarchical Models, 2007, ch. 12; half-normal priors: A. Gelman, Bayesian Anal. 1
(2006) 515).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import brentq
from scipy.special import logsumexp, ndtr

from greenbench.stats.intervals import CONFIDENCE, Interval

Array: TypeAlias = npt.NDArray[np.float64]
LEAST_DEVICES: Final = 4
"""Of fewer, how much devices differ is a guess."""
LEVEL_SPREAD: Final = 2.0
"""Prior standard deviation of the mean log-ratio: hardly any prior."""
SLOPE_SPREAD: Final = 0.3
"""Of the change of the log-ratio with one standard deviation of a feature."""
SPREAD: Final = 0.3
"""Scale of the half-normal priors of tau and sigma, in log-ratio."""
GRID: Final = np.concatenate([[0.0], np.geomspace(0.003, 1.5, 15)])
STEPS: Final = np.gradient(GRID)


class Seen(NamedTuple):
    """A ratio that was measured in one setting."""

    device: str
    features: tuple[float, ...]
    log_ratio: float
    error: float
    """Standard error of the log-ratio."""


class Coverage(NamedTuple):
    """How many ratios of devices that were left out lay within what the others predict."""

    held: int
    of: int

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.held / self.of


def predicted(seen: Sequence[Seen], features: Sequence[float]) -> Interval:
    """The ratio of a setting on another device than all `seen`, within which it lies in 95 of 100 cases; n is
    the number of devices. `features` as theirs. Raises ValueError for fewer than `LEAST_DEVICES`."""
    devices = sorted({each.device for each in seen})
    if len(devices) < LEAST_DEVICES:
        raise ValueError(f"{len(devices)} devices are too few to predict another")
    design, new = _standardized(seen, features)
    spread = _prior(design.shape[1])
    same = _same_device(seen, devices)
    errors = np.array([each.error**2 for each in seen])
    logs = np.array([each.log_ratio for each in seen])
    fixed = (design * spread) @ design.T
    ahead = (design * spread) @ new
    weights, means, deviations = [], [], []
    for tau, width in zip(GRID, STEPS, strict=True):
        for sigma, height in zip(GRID, STEPS, strict=True):
            known = fixed + tau**2 * same + np.diag(errors + sigma**2 + 1e-10)
            factor = cho_factor(known, lower=True)
            solved = cho_solve(factor, logs)
            half_log_det = np.log(np.diag(factor[0])).sum()
            prior = -((tau / SPREAD) ** 2 + (sigma / SPREAD) ** 2) / 2
            weights.append(prior - half_log_det - logs @ solved / 2 + np.log(width * height))
            means.append(ahead @ solved)
            own = (new * spread) @ new + tau**2 + sigma**2
            deviations.append(np.sqrt(own - ahead @ cho_solve(factor, ahead) + 1e-12))
    share = np.exp(np.array(weights) - logsumexp(weights))
    middle, low, high = (
        exp(_quantile(level, share, np.array(means), np.array(deviations)))
        for level in (0.5, (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    )
    return Interval(middle, low, high, len(devices))


def left_out(seen: Sequence[Seen]) -> Coverage:
    """Each device in turn predicted from all others; ratios are measured with an error, which counts."""
    held = 0
    for device in {each.device for each in seen}:
        others = [each for each in seen if each.device != device]
        for each in seen:
            if each.device == device:
                found = predicted(others, each.features)
                held += _holds(found, each)
    return Coverage(held, len(seen))


def _holds(found: Interval, each: Seen) -> bool:
    ratio = exp(each.log_ratio)
    return found.low is not None and found.high is not None and found.low <= ratio <= found.high


def _standardized(seen: Sequence[Seen], features: Sequence[float]) -> tuple[Array, Array]:
    """Rows of an intercept and of features with mean 0 and deviation 1, and the new one alike."""
    table = np.array([each.features for each in seen], dtype=float).reshape(len(seen), -1)
    mean, deviation = table.mean(axis=0), table.std(axis=0)
    usable = deviation > 1e-9  # what is the same everywhere tells nothing of its effect
    rows = (table[:, usable] - mean[usable]) / deviation[usable]
    new = (np.asarray(features, dtype=float)[usable] - mean[usable]) / deviation[usable]
    return np.column_stack([np.ones(len(seen)), rows]), np.concatenate([[1.0], new])


def _prior(columns: int) -> Array:
    """Variances of the intercept and the slopes."""
    return np.array([LEVEL_SPREAD**2, *[SLOPE_SPREAD**2] * (columns - 1)])


def _same_device(seen: Sequence[Seen], devices: Sequence[str]) -> Array:
    at = np.array([devices.index(each.device) for each in seen])
    return np.asarray(at[:, None] == at[None, :], dtype=float)


def _quantile(level: float, share: Array, means: Array, deviations: Array) -> float:
    """Of the mixture."""
    low, high = (means - 9 * deviations).min(), (means + 9 * deviations).max()
    return float(brentq(lambda x: share @ ndtr((x - means) / deviations) - level, low, high))
