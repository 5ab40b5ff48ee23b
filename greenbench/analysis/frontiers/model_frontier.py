"""Models side by side: absolute quality against J/token, where a device ran more than one model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from greenbench.analysis.energy.energy_by_phase import request_joules
from greenbench.analysis.frontiers.cost_frontiers import Resampler
from greenbench.analysis.frontiers.draws import answers, means, stayed
from greenbench.analysis.frontiers.frontier import Point, on_frontier
from greenbench.analysis.frontiers.frontier_confidence import memberships
from greenbench.analysis.groups.comparable import Setting
from greenbench.analysis.groups.rows import Group, Row
from greenbench.schema.metrics import ENERGY_PER_TOKEN


class Line(NamedTuple):
    """One run among those of other models."""

    setting: Setting
    row: Row
    member: bool
    probability: float


class Device(NamedTuple):
    """The runs of one device, workload and task set, whatever their models."""

    setting: Setting
    lines: list[Line]

    @property
    def title(self) -> str:
        """What the runs share."""
        models = len({line.setting.model for line in self.lines})
        return f"{models} models on {self.setting.device}, {self.setting.asked}"


def devices(groups: Sequence[Group]) -> list[Device]:
    """Every device that ran two models or more under equal conditions."""
    together: defaultdict[Setting, list[Group]] = defaultdict(list)
    for group in groups:
        together[group.setting._replace(model="", fingerprint="")].append(group)
    found = (_device(shared) for shared in together.values() if len(shared) > 1)
    return [device for device in found if device]


def _device(groups: Sequence[Group]) -> Device | None:
    rows = [(group.setting, row) for group in groups for row in group.rows if _known(row)]
    if len({setting.fingerprint for setting, _ in rows}) < 2:
        return None
    points = [Point(row.quality.value or 0.0, row.energy.value or 0.0) for _, row in rows]
    shares = _shares([row for _, row in rows])
    lines = [
        Line(setting, row, member, share)
        for (setting, row), member, share in zip(rows, on_frontier(points), shares, strict=True)
    ]
    lines.sort(key=lambda line: (-line.probability, line.row.energy.value, line.setting.model))
    return Device(groups[0].setting, lines)


def _known(row: Row) -> bool:
    return bool(row.quality.value is not None and row.energy.value and _tokens(row))


def _tokens(row: Row) -> list[float]:
    """The candidate's joules by block: their spread is J/token's where each request makes as many."""
    joules = request_joules(row.record, "candidate")
    return joules if joules and min(joules) > 0 else []


def _shares(rows: Sequence[Row]) -> list[float]:
    """Each run's share of the draws in which no other beats it."""
    resampler = Resampler()
    quality, energy = [], []
    for row in rows:
        logs = np.log(_tokens(row))
        level = np.log(row.energy.value or 1.0)
        drawn = means(logs, resampler.blocks(len(logs)))
        drawn = stayed(drawn, row.record, ENERGY_PER_TOKEN.ratio, alone=True)
        energy.append((level + drawn - logs.mean()).astype(np.float32))
        found = answers(row.record)
        shares = resampler.shares(found.candidate, found.documents)
        quality.append(shares.astype(np.float32))
    found = memberships(resampler.together(quality), resampler.together(energy)).mean(axis=0)
    return [float(share) for share in found]
