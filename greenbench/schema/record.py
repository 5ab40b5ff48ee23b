"""The record: the one JSON document a run leaves, success or failure.

Rules the schema itself enforces: a missing number is ``null`` with a reason, never 0; a number
without an interval says why; every number carries its unit, provenance and n.
"""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from greenbench.schema.codes import Validity
from greenbench.schema.difficulty import Difficulty
from greenbench.schema.profile import Profile
from greenbench.schema.quality import TaskScore
from greenbench.schema.quantity import Part, Quantity
from greenbench.schema.resolved import ResolvedSpec
from greenbench.schema.solved import SolvedTask
from greenbench.schema.technique import AppliedTechnique
from greenbench.schema.traffic import LoadCurve
from greenbench.schema.training.record import Training
from greenbench.schema.uncertainty import Uncertainty
from greenbench.schema.verdict import Verdict
from greenbench.schema.window import Who, Window

SCHEMA_VERSION: Final = 2

Status = Literal["completed", "failed", "unsupported"]
Reason = Literal[
    "exception",
    "exit",
    "killed",
    "out_of_memory",
    "time_limit",
    "device_lost",
    "engine",
    "unsupported",
    "user_error",
]
"""What kind of end a run without a result had."""


class Subject(Part):
    """One of the two models measured: what it is, and its numbers by name."""

    parameters: int | None
    """Weights, however they are stored."""
    layers: int | None
    """Blocks of the decoder."""
    dtypes: dict[str, int] | None
    """Bytes held in each storage dtype."""
    footprint_reason: str | None = None
    """Why any of these three is null: some engines cannot tell."""
    checkpoint: str | None = None
    """BLAKE3 over the content of the files that the engine has read, as ``greenbench make`` leaves them;
    null with the reason, in early records without one."""
    checkpoint_reason: str | None = None
    """Why it is null: what was measured is in no file."""
    metrics: dict[str, Quantity]
    """Such as energy_per_token_j, tokens_per_s, ttft_p50_s, model_bytes."""

    @model_validator(mode="after")
    def _say_why(self) -> Self:
        if None in (self.parameters, self.layers, self.dtypes) and not self.footprint_reason:
            raise ValueError("a model without a footprint must give its reason")
        return self


class EngineFacts(Part):
    """Which engine ran a model."""

    name: str
    version: str | None
    """Null where it does not say."""
    changed: dict[str, Any] | None = None
    """Its knobs that are other than their defaults; null in early records, which do not say."""
    system: str | None = None
    """What it says of the machine as it uses it, such as the instructions it was built for; null: nothing."""
    probe: dict[Who, float | None] = Field(default_factory=dict)
    """Nats per token between a known text's log-probabilities through it and by the same weights in process,
    of each model that it ran; null where that is not known. Empty where it runs in the run's own process."""
    eager: dict[Who, str] = Field(default_factory=dict)
    """Why the engine left a model uncompiled, where it can compile: a technique of it, as ``early_exit has a
    forward pass that cannot be traced``, the model, the device, or as it was asked to."""


class Waiting(Part):
    """What the model that waits costs while the other is measured."""

    power: Quantity
    """Watts drawn idle with both loaded less those with the baseline alone."""
    cpu: dict[Who, Quantity] = Field(default_factory=dict)
    """By who waits, the share of one CPU that its server took in the other's blocks; empty where both run in
    the run's own process."""


class Failure(Part):
    """Why a run has no result."""

    reason: Reason
    message: str
    """One sentence, with the remedy where there is one."""
    phase: str | None
    """The last stage the worker reported."""
    log_tail: list[str]
    """The last lines of the run's log."""


class ModelFacts(Part):
    """Which model it was, exactly."""

    name: str
    source: Literal["wheel", "hub", "local"]
    id: str | None
    commit: str | None
    """Commit the hub's revision resolved to."""
    fingerprint: str
    """BLAKE3 over the whole content of all files that are loaded. In early records SHA-256 over the
    weights' headers and samples, and the configuration."""
    license: str | None
    note: str | None
    packing: str | None = None
    """How the checkpoint's weights are packed, as ``bitsandbytes, 4 bits, nf4``; null where they are
    plain, in the dtype that the spec names."""


class MeterChoice(Part):
    """Which meter the run used, and why not the ones before it."""

    used: list[str]
    """The run's meters by name; the first one's joules are the headline."""
    refused: dict[str, str]
    """By meter, the sentence that says why it did not answer."""
    notes: dict[str, str] = Field(default_factory=dict)
    """What a reader of a used meter's numbers must know."""


class Settling(Part):
    """How the warm-up of one model ended."""

    seconds: float
    """How long it took."""
    iterations: int
    """Requests meanwhile."""
    settled: bool
    """Whether it had settled before its limit."""
    by: str
    """What was watched: temperature and power, or latency."""
    slopes: dict[str, float]
    """Last slopes seen, by quantity and unit."""


class Stopping(Part):
    """Why no more blocks were measured."""

    metric: str
    """The ratio whose interval was watched."""
    target_half_width: float
    """As the protocol asked, a fraction of the ratio."""
    half_width: float | None
    """Half of the 95 % interval over the ratio, after the last block."""
    reached: bool
    """Whether the interval was narrow enough."""
    blocks: int
    """Valid ones."""
    limit: int
    """No more than so many would have been measured."""
    needed: int | None = None
    """So many did the spread of the protocol's first blocks ask for; null where fewer than two of these were
    valid, and in records of before, which looked after each block."""


class Prompted(Part):
    """How much of the prompts' text came again in the windows of the blocks."""

    sent: int
    """To both models, under every load."""
    repeated: int
    """Of these, word for word one that the same model had been sent in a window of the same phase; where an
    engine may know prompts again, that any model had been sent in any window."""


class Findings(Part):
    """What a worker found out: everything in a record that is measured."""

    model: ModelFacts | None = None
    engine: EngineFacts | None = None
    """What ran the baseline, and the candidate where no other did; null where the run failed before that was
    known."""
    candidate_engine: EngineFacts | None = None
    """What ran the candidate, where a technique chose another engine for it."""
    techniques: list[AppliedTechnique] = Field(default_factory=list)
    meter: MeterChoice | None = None
    block_order: list[list[str]] = Field(default_factory=list)
    """Per block, the order of its windows as ``who:phase``, under a load ``who:phase@load``."""
    windows: list[Window] = Field(default_factory=list)
    baseline: Subject | None = None
    """The model without the techniques."""
    candidate: Subject | None = None
    """The model with them."""
    ratios: dict[str, Quantity] = Field(default_factory=dict)
    """Candidate over baseline by metric name, paired by block."""
    verdicts: dict[str, Verdict] = Field(default_factory=dict)
    """What each ratio shows, this run alone; a report judges a sweep anew with Holm."""
    conclusions: str | None = None
    """Hash of the code that drew the numbers from the windows (protocol, rule 30b): who reads the record
    draws them again. Null in early records."""
    uncertainty: dict[str, Uncertainty] = Field(default_factory=dict)
    """Budgets of the energy numbers: candidate.NAME and ratio.NAME."""
    validity: Validity = "valid"
    codes: list[str] = Field(default_factory=list)
    """Codes of the run: those of its windows with their counts, unsettled, too_few_blocks."""
    warmup: dict[Who, Settling] = Field(default_factory=dict)
    design: Literal["interleaved", "sequential"] = "interleaved"
    """Whether the two models were measured side by side or in turn."""
    design_reason: str | None = None
    """Why the two models were not measured side by side, and whether one slept while it waited."""
    stopping: Stopping | None = None
    prompts: Prompted | None = None
    """Null in records of a time when it was not counted."""
    idle: dict[str, Quantity] = Field(default_factory=dict)
    """Idle power in watts: ``empty`` before anything is loaded, ``one`` with the baseline alone, ``both``
    with both models, ``unloaded`` after, when a GPU still holds the process's context."""
    waiting: Waiting | None = None
    """Null in records of a time when it was not looked at."""
    failure: Failure | None = None
    quality: list[TaskScore] = Field(default_factory=list)
    unscored: dict[str, str] = Field(default_factory=dict)
    """Why a task was not scored, by its name: the engine cannot, and no other's score stands in for it."""
    baseline_scored_at: str | None = None
    """When an earlier run scored the baseline on the same items, UTC; null: this one did."""
    difficulty: Difficulty | None = None
    """Null where no technique's work depends on the input."""
    solved: list[SolvedTask] = Field(default_factory=list)
    """Tasks whose questions are answered in words, and after several tasks all together."""
    load: LoadCurve | None = None
    """Null where requests were sent one batch after another."""
    training: Training | None = None
    """Null where the models served."""
    profile: Profile | None = None
    """Null where none was asked for, or the promise was kept (`protocol.profile`)."""
    stages_s: dict[str, float] = Field(default_factory=dict)
    """Wall seconds by stage: start, load, prepare, score, warmup, measure, tune, train,
    difficulty, finish; and their total."""


class Record(Findings):
    """One spec on one device."""

    schema_version: Literal[2] = SCHEMA_VERSION
    """Earlier versions are upgraded when they are read."""
    key: str = Field(pattern=r"^[0-9a-f]{16}$")
    """16 hex digits: hash of what determines the result, its inputs among it. It names the file."""
    name: str
    """The technique stack as tables show it: ``prune_depth(0.2) + int8_bnb``, or ``none`` where the spec has
    none."""
    status: Status
    """``unsupported``: it cannot run here, and says why in `failure`."""
    spec: ResolvedSpec
    """What was to be run, every choice resolved; a local path by its content's hash."""
    command: str
    """The command that reproduces this run: a hub's branch by its commit, the user's own files of values
    by what is in them."""
    started_at: str
    """UTC, ISO 8601."""
    environment: dict[str, Any]
    """Facts about hardware, software and settings; no user, path or host name among them."""
    content: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """BLAKE3 over all else in the file, as JSON with sorted keys and no spaces; null in early records, and
    once it is read."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.status == "completed":
            parts = (self.model, self.meter, self.baseline, self.candidate)
            if any(part is None for part in parts) or not self.windows:
                raise ValueError("a completed record needs model, meter, windows and both subjects")
            if (self.training is None) is not (self.spec.training is None):
                raise ValueError("a record has trainings where its workload trains, and only there")
        elif self.failure is None:
            raise ValueError("a record that is not completed needs its failure")
        return self


def json_schema() -> dict[str, Any]:
    """The record's JSON Schema (draft 2020-12)."""
    return Record.model_json_schema()
