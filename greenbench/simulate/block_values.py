"""A run as its statistics see it: joules by block, in the real order of windows and by the stopping rule."""

from __future__ import annotations

from functools import cache
from math import exp, log
from typing import Any, NamedTuple

import numpy as np
import yaml

from greenbench.analysis.blocks import planned
from greenbench.measure.schedule import Cell, rounds
from greenbench.paths import conf_dir
from greenbench.schema.enums import Design, Profiling, Tier
from greenbench.schema.spec import ProtocolSpec
from greenbench.schema.window import WHO, Who
from greenbench.simulate.weather import Weather, windows
from greenbench.stats.intervals import stein_blocks
from greenbench.stats.standard_errors import Stays, stay_errors


class Values(NamedTuple):
    """Of baseline and candidate, one value a block."""

    baseline: list[float]
    candidate: list[float]
    first: int
    """Blocks that decided how many there are."""
    stays: Stays | None = None
    """Of models in turn."""


@cache
def protocol(name: str) -> ProtocolSpec:
    """A protocol as ``conf/protocol`` has it."""
    found = yaml.safe_load((conf_dir() / "protocol" / f"{name}.yaml").read_text())
    kinds = {"tier": Tier, "design": Design, "profile": Profiling}
    typed: dict[str, Any] = {key: kinds.get(key, lambda v: v)(v) for key, v in found.items()}
    return ProtocolSpec(**typed)


def values(
    ratio: float,
    weather: Weather,
    plan: ProtocolSpec,
    dice: np.random.Generator,
    *,
    in_turn: bool = False,
) -> Values:
    """Joules per token of a run whose candidate truly takes `ratio` of the baseline's.

    Windows come in the order of `schedule.rounds`, the noise over them in time; after the protocol's blocks
    `stein_blocks` says how many there are, as in `schedule.measure`.
    """
    parts = rounds(plan, int(dice.integers(1 << 30)), in_turn=in_turn)
    noise, shift = windows(weather, dice), weather.session * dice.standard_normal()
    taken: dict[Who, dict[int, float]] = {"baseline": {}, "candidate": {}}
    levels = Levels(weather.reload if in_turn else 0.0, dice)
    first = planned(plan.blocks, in_turn=in_turn)
    needed, stay, last = None, 0, None
    stays: dict[Who, dict[int, int]] = {"baseline": {}, "candidate": {}}
    for part in parts:
        for cell in part:
            stay, last = stay + (cell.who != last), cell.who
            stays[cell.who][cell.block] = stay
            true = log(ratio) + shift if cell.who == "candidate" else 0.0
            logs = true + next(noise) + levels.of(cell)
            if cell.phase == "generate":
                taken[cell.who][cell.block] = exp(logs)
        done = part[-1].block + 1
        if needed is None and done >= first:
            needed = _needed(taken, plan, stays if in_turn else None)
        if needed is not None and done >= needed:
            break
    sides = [[taken[who][block] for block in sorted(taken[who])] for who in taken]
    before, after = ([own[block] for block in sorted(own)] for own in stays.values())
    return Values(sides[0], sides[1], first, (before, after) if in_turn else None)


class Levels:
    """What each loading of a model shifts."""

    def __init__(self, spread: float, dice: np.random.Generator) -> None:
        self._spread, self._dice = spread, dice
        self._who: Who | None = None
        self._level = 0.0

    def of(self, cell: Cell) -> float:
        """In that window, of those that come in the order of time."""
        if self._spread and cell.who != self._who:
            self._who, self._level = cell.who, self._spread * self._dice.standard_normal()
        return self._level


def _needed(
    taken: dict[Who, dict[int, float]], plan: ProtocolSpec, stays: dict[Who, dict[int, int]] | None
) -> int:
    blocks = sorted(taken["baseline"])
    sides = np.log([[taken[who][block] for block in blocks] for who in WHO])
    own = [[stays[who][block] for block in blocks] for who in WHO] if stays else None
    shift = stay_errors(sides, (own[0], own[1]) if own else None)
    needed = stein_blocks((sides[1] - sides[0]).tolist(), plan.target_half_width, shift)
    return max(plan.blocks, needed)
