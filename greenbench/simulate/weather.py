"""What moves a lab's joules beside the technique: noise of windows, drift, stalls, sessions."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Final, Literal, NamedTuple, get_args

import numpy as np

Kind = Literal["independent", "ar1", "walk", "trend", "heavy tails", "stalls"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MEMORY: Final = 0.8
"""Of AR(1): correlation of a window's noise with the next one's."""
HEAVY: Final = 3
"""Degrees of freedom of the heavy tails' t."""
STALLED: Final = 0.03
"""Share of windows that something stalls, ..."""
LONGER: Final = 10.0
"""... so that they take so many of their deviations more."""


class Weather(NamedTuple):
    """Noise of the logarithm of a window's joules."""

    kind: Kind = "independent"
    spread: float = 0.02
    """Standard deviation of a block's log-ratio where windows are independent. ``walk`` adds half of a
    window's share of it with each window and ``trend`` a quarter, beside half of the independent noise."""
    session: float = 0.0
    """Standard deviation of a session's log-ratio: all of its blocks share it."""
    reload: float = 0.0
    """Standard deviation of a model's level from one loading to the next, where measured in turn."""


def windows(weather: Weather, dice: np.random.Generator) -> Iterator[float]:
    """Of the windows as they come, in the order of time, without end."""
    window = weather.spread / sqrt(2)
    level = 0.0
    while True:
        if weather.kind == "ar1":
            level = MEMORY * level + sqrt(1 - MEMORY**2) * window * dice.standard_normal()
            yield level
        elif weather.kind == "walk":
            level += window / 2 * dice.standard_normal()
            yield level + window / 2 * dice.standard_normal()
        elif weather.kind == "trend":
            level += window / 4
            yield level + window / 2 * dice.standard_normal()
        elif weather.kind == "heavy tails":
            yield window * float(dice.standard_t(HEAVY)) / sqrt(HEAVY / (HEAVY - 2))
        elif weather.kind == "stalls":
            stalled = LONGER * window * (dice.random() < STALLED)
            yield stalled + window * dice.standard_normal()
        else:
            yield window * dice.standard_normal()
