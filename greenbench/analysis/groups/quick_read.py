"""What choosing among very many runs takes of a record."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from greenbench.analysis.groups.comparable import Setting, setting
from greenbench.analysis.groups.rows import is_invalid, technique
from greenbench.records.store import identity
from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.schema.record import Record


class Brief(NamedTuple):
    """A record in short."""

    path: Path
    identity: tuple[str, str, str]
    kind: str
    """Its status, or ``invalid``."""
    setting: Setting
    label: str
    energy: float | None
    """Candidate over baseline."""
    change: float | None
    """Points of accuracy."""
    tests: tuple[tuple[str, float], ...]
    """p-values of its verdicts by metric."""


def brief_of(path: Path, record: Record) -> Brief:
    """`record`, which `path` holds, in short."""
    energy = record.ratios.get(ENERGY_PER_TOKEN.ratio)
    return Brief(
        path=path,
        identity=identity(record),
        kind="invalid" if is_invalid(record) else record.status,
        setting=setting(record),
        label=technique(record),
        energy=energy.value if energy else None,
        change=_change(record),
        tests=tuple(
            (verdict.metric, verdict.p_difference)
            for verdict in record.verdicts.values()
            if verdict.p_difference is not None and not verdict.barred
        ),
    )


def _change(record: Record) -> float | None:
    """Mean change of the tasks of which more is better, in points: enough to choose by."""
    parts = [
        (score.change.n, score.change.value)
        for score in record.quality
        if score.higher_is_better and score.change.value is not None
    ]
    items = sum(count for count, _ in parts)
    return 100 * sum(count * value for count, value in parts) / items if items else None
