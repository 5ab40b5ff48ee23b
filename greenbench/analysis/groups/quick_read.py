"""What choosing among very many runs takes of a record: read fast, its raw readings passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from greenbench.analysis.groups.comparable import Setting, setting
from greenbench.analysis.groups.rows import is_invalid, technique
from greenbench.records.store import Rejected, identity, parse
from greenbench.schema.codes import Validity
from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.schema.outline import Outline
from greenbench.schema.quantity import Provenance, Quantity
from greenbench.schema.record import EngineFacts, ModelFacts, Status
from greenbench.schema.resolved import ResolvedSpec


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


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore")


class _Span(_Part):
    boundary: str
    provenance: Provenance


class _Window(_Part):
    energy: list[_Span]


class _Score(_Part):
    higher_is_better: bool
    change: Quantity


class _Subject(_Part):
    metrics: dict[str, Quantity]


class _Verdict(_Part):
    metric: str
    p_difference: float | None
    barred: str | None


class _Light(_Part):
    """The `Outline` of a record; all else that a record must have is looked for, but not kept."""

    schema_version: Literal[2]
    key: str
    name: str
    status: Status
    started_at: str
    spec: ResolvedSpec
    command: str
    environment: dict[str, Any]
    validity: Validity = "valid"
    model: ModelFacts | None = None
    engine: EngineFacts | None = None
    candidate: _Subject | None = None
    windows: list[_Window] = []
    ratios: dict[str, Quantity] = {}
    verdicts: dict[str, _Verdict] = {}
    quality: list[_Score] = []


def shortened(path: Path) -> Brief | Rejected:
    """The record in `path` in short, or why there is none."""
    try:
        found = _Light.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        whole = parse(path)  # knows the reason, or how to upgrade it
        return whole if isinstance(whole, Rejected) else _brief(path, whole)
    return _brief(path, found)


def _brief(path: Path, record: Outline) -> Brief:
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


def _change(record: Outline) -> float | None:
    """Mean change of the tasks of which more is better, in points: enough to choose by."""
    parts = [
        (score.change.n, score.change.value)
        for score in record.quality
        if score.higher_is_better and score.change.value is not None
    ]
    items = sum(count for count, _ in parts)
    return 100 * sum(count * value for count, value in parts) / items if items else None
