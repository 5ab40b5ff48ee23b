"""What choosing among runs takes of a record: a whole record has it, and so has one read in short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from greenbench.schema.codes import Validity
from greenbench.schema.quantity import Provenance, Quantity
from greenbench.schema.record import EngineFacts, ModelFacts, Status
from greenbench.schema.resolved import ResolvedSpec


class SpanOutline(Protocol):
    """Of what one meter counted."""

    @property
    def boundary(self) -> str: ...
    @property
    def provenance(self) -> Provenance: ...


class WindowOutline(Protocol):
    """Of a window: its meters, the first one's joules first."""

    @property
    def energy(self) -> Sequence[SpanOutline]: ...


class SubjectOutline(Protocol):
    """Of one of the two models: its numbers."""

    @property
    def metrics(self) -> Mapping[str, Quantity]: ...


class ScoreOutline(Protocol):
    """Of a task's score: how it changed."""

    @property
    def higher_is_better(self) -> bool: ...
    @property
    def change(self) -> Quantity: ...


class VerdictOutline(Protocol):
    """Of a verdict: what Holm's correction takes."""

    @property
    def metric(self) -> str: ...
    @property
    def p_difference(self) -> float | None: ...
    @property
    def barred(self) -> str | None: ...


class Outline(Protocol):
    """Of a record."""

    @property
    def key(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def status(self) -> Status: ...
    @property
    def started_at(self) -> str: ...
    @property
    def spec(self) -> ResolvedSpec: ...
    @property
    def validity(self) -> Validity: ...
    @property
    def model(self) -> ModelFacts | None: ...
    @property
    def engine(self) -> EngineFacts | None: ...
    @property
    def candidate(self) -> SubjectOutline | None: ...
    @property
    def windows(self) -> Sequence[WindowOutline]: ...
    @property
    def ratios(self) -> Mapping[str, Quantity]: ...
    @property
    def verdicts(self) -> Mapping[str, VerdictOutline]: ...
    @property
    def quality(self) -> Sequence[ScoreOutline]: ...
