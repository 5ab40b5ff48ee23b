"""A run's spec as its record keeps it: every choice resolved, nothing private, and typed to the end.

Each part mirrors the dataclass in `schema/spec.py` that it is written from. A local path gives way to
the hash of what is there, the device to the hardware's name.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import ConfigDict, Field

from greenbench.schema.quantity import Part
from greenbench.schema.training.spec import USUAL_FIELD

HASH = re.compile("^([0-9a-f]{12})[0-9a-f]{52}$")
"""Of a content: its first digits tell it from others."""


class Chosen(Part):
    """A technique or an engine: its name, and its knobs as further fields."""

    model_config = ConfigDict(extra="allow")

    name: str

    @property
    def knobs(self) -> dict[str, Any]:
        """Its settings by name."""
        return dict(self.model_extra or {})


class ResolvedModel(Part):
    """Which model, and the dtype that its baseline is measured in."""

    name: str
    source: Literal["wheel", "hub", "local"]
    id: str | None = None
    revision: str | None = None
    """Of a hub: the commit. In early records the branch or tag that was asked for."""
    path: str | None = None
    """Hash of a local model's content."""
    packages: list[str] = Field(default_factory=list)
    file: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"]
    license: str | None = None
    note: str | None = None
    trust_remote_code: bool = False


class ResolvedTask(Part):
    """Which tasks measured quality, on how many items each; 0: all."""

    names: list[str]
    items: int
    seed: int
    fewshot: int | None
    """Null: as many examples as each task's file says."""
    chat_template: bool | Literal["auto"] = "auto"
    """``auto``: for questions that are answered in words, where the model has one."""
    filter: str | None = None
    """Null: the flexible one where a task has one, else its first."""
    metric: str | None = None
    """Compared of the tasks that have it; null: each task's main one."""
    answer_tokens: int | None = None
    """Of each answer in words, at most; null: as many as each task's file says."""
    sampling: Literal["greedy", "model"] = "greedy"
    allow_code_execution: bool = False
    allow_task_code: bool = False


class ResolvedTraining(Part):
    """How both recipes were trained; see `TrainingSpec`."""

    tokens: int
    longer: float
    sequence: int
    batch_size: int
    seeds: int
    evaluations: int
    passages: int
    learning_rates: list[float]
    tuning_tokens: int
    precision: Literal["auto", "float32", "bfloat16"]
    dataset: str | None = None
    """Name of a hub's data set, or hash of a local one's content; null: the text wheel."""
    revision: str | None = None
    text_field: str = USUAL_FIELD

    @property
    def said(self) -> str:
        """All of it, as tables show it."""
        rates = ", ".join(f"{rate:g}" for rate in self.learning_rates)
        return (
            f"{self._text}{self.tokens:,} tokens in batches of {self.batch_size} × {self.sequence}, the "
            f"candidate {self.longer:g} times as many, {self.seeds} seeds, {self.evaluations} evaluations on "
            f"{self.passages} passages, learning rates {rates} tuned on {self.tuning_tokens:,} tokens each, "
            f"precision {self.precision}"
        )

    @property
    def _text(self) -> str:
        """Which, where it is not the text wheel's."""
        if self.dataset is None:
            return ""
        known = HASH.sub(r"\1", self.dataset)
        commit = f"@{self.revision[:12]}" if self.revision else ""
        column = "" if self.text_field == USUAL_FIELD else f", column {self.text_field}"
        return f"data set {known}{commit}{column}; "


class ResolvedWorkload(Part):
    """What one request looked like."""

    name: str
    batch_size: int
    prompt_tokens: int
    output_tokens: int
    stop: Literal["fixed", "natural"]
    chat_template: bool


class ResolvedMeter(Part):
    """Which meters were to be tried, in order."""

    order: list[str]
    cpu_tdp_w: float | None = None
    wall_log: bool = False
    """Whether a wall meter's log was joined."""
    wall_offset_s: float = 0.0


class ResolvedProtocol(Part):
    """How long and how often was measured; see `ProtocolSpec`."""

    tier: Literal["smoke", "dev", "publish"]
    window_s: float
    min_iterations: int
    blocks: int
    max_blocks: int
    target_half_width: float | None
    """Null in records of a time when no target was set."""
    idle_s: float
    warmup_s: float
    warmup_limit_s: float
    design: Literal["auto", "interleaved", "sequential"]
    time_limit_s: float
    profile: Literal["never", "when_not_kept", "always"] = "never"


class ResolvedDevice(Part):
    """The hardware: ``cpu`` or ``cuda``, and its name."""

    kind: str
    """``cpu`` or ``cuda``."""
    name: str
    """As its maker calls it."""
    uuids: list[str] | None = None
    """Of its GPUs, where the run tells twins apart."""


class ResolvedLoad(Part):
    """How requests arrived; see `LoadSpec`."""

    arrivals: Literal["closed", "concurrent", "poisson", "gamma", "constant", "trace"]
    """``closed``: one batch after another, each sent when the one before is answered."""
    rate: float | list[float] | Literal["sweep"] | None = None
    concurrency: int | list[int] | None = None
    cv: float | None = None
    trace: str | None = None
    """Hash of the trace's content; null: none, or the one that comes with GreenBench."""
    lengths: Literal["fixed", "lognormal", "texts", "trace"] = "fixed"
    spread: float = 0.5
    shared: float = 0.0
    at_once: int = 16


class ResolvedSlo(Part):
    """How soon each request had to be answered; null: no limit."""

    ttft_ms: float | None = None
    tpot_ms: float | None = None
    share: float = 0.9


class Inputs(Part):
    """What the run reads and computes with, by content (BLAKE3) or version: with another it is another
    run."""

    model: str
    """Hash of all that the model is made of."""
    text: str
    """Hash of the text that prompts and calibration are taken from, or of the data set that is trained on."""
    tasks: dict[str, str]
    """By task, the hash of its file and data."""
    packages: dict[str, str]
    """Versions of what computes: Python, GreenBench, the libraries, and the packages of the engine and
    of each technique."""
    plugins: dict[str, str]
    """By package of a plug-in that brings a technique or the engine, the hash of its code."""
    machine: dict[str, str]
    """What software and settings the device has: threads, CUDA, driver, power limit."""


class ResolvedSpec(Part):
    """What determines a run's result, and the labels that it goes by."""

    model: ResolvedModel
    technique: list[Chosen]
    """In the order in which they were applied; empty is the A/A run."""
    task: ResolvedTask
    workload: ResolvedWorkload
    meter: ResolvedMeter
    protocol: ResolvedProtocol
    device: ResolvedDevice
    engine: Chosen
    load: ResolvedLoad
    slo: ResolvedSlo = Field(default_factory=ResolvedSlo)
    training: ResolvedTraining | None = None
    """Null: nothing was trained."""
    seed: int
    session: int = 1
    inputs: Inputs | None = None
    """Null in records of a time when only samples of the weights were read: they never stand for a run
    of today."""
