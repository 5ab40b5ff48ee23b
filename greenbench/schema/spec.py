"""What a run is: typed, frozen and validated. ``conf/`` holds the values, this file the shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from greenbench.errors import UserError
from greenbench.plugins import named
from greenbench.schema.enums import Design, Dtype, Profiling, Sampling, Source, Stop, Tier
from greenbench.schema.load_spec import LoadSpec, SloSpec
from greenbench.schema.ranges import (
    MOST_BLOCKS,
    require,
    require_choice,
    require_device,
    require_hub_id,
    require_seed,
)
from greenbench.schema.training.spec import TrainingSpec, require_training

TIERS = {  # design rule 5: what a tier promises its reader
    "smoke": (0.0, 1),
    "dev": (10.0, 5),
    "publish": (60.0, 10),
}
MOST_SESSIONS = 100
LABEL = {"label": True}
"""Metadata of a field that is recorded, but decides no result: changing it changes no run's key."""


@dataclass(frozen=True)
class ModelSpec:
    """A real base model and the dtype its baseline is measured in."""

    name: str = field(metadata=LABEL)
    """What it is called; which one it is, the hub's id, the path or the packages say."""
    source: Source
    """Where its files come from."""
    id: str | None = None
    """Hub id, as in ``Qwen/Qwen3-0.6B``."""
    revision: str | None = None
    """Hub branch, tag or commit; the commit it resolves to is recorded."""
    path: str | None = None
    """Directory of a local model. Never recorded: its name and content hash are."""
    packages: list[str] = field(default_factory=list)
    """Data wheels (``name==version``) whose files, joined in order, are the GGUF file."""
    file: str | None = None
    """Glob of the GGUF file, or its parts, inside each package."""
    dtype: Dtype = Dtype.bfloat16
    """What the baseline is held in."""
    license: str | None = field(default=None, metadata=LABEL)
    """For the reader; nothing depends on it."""
    note: str | None = field(default=None, metadata=LABEL)
    """What a reader of its leaderboard rows must know."""
    trust_remote_code: bool = False
    """Run code that comes with the model's files."""

    def __post_init__(self) -> None:
        needs = {Source.wheel: "packages", Source.hub: "id", Source.local: "path"}[self.source]
        if not getattr(self, needs):
            raise UserError(
                f"model.{needs} is missing: a model from source={self.source.value} needs it; "
                f"add model.{needs}=..."
            )
        if self.source is Source.hub:
            require_hub_id(str(self.id))


@dataclass(frozen=True)
class TaskSpec:
    """Which tasks measure quality, on how many seeded items."""

    names: list[str]
    """Tasks, groups or tags, as their files name them, and paths of YAML files."""
    items: int = 100
    """Items per task; 0 means all of them."""
    seed: int = 0
    """Chooses the items."""
    fewshot: int | None = None
    """Examples before each question; null: as many as the task's file says, or else none."""
    chat_template: Any = "auto"
    """Whether questions are put into the model's chat template: true, false, or ``auto``, for those that are
    answered in words, where the model has one."""
    filter: str | None = None
    """Which of the filters that a task takes the answer out of a text by is compared; null: the flexible
    one where there is one, else the first. All are kept."""
    metric: str | None = None
    """Which of the metrics that have a value for each item is compared, of the tasks that have it; null, and
    of all others: each task's main one."""
    answer_tokens: int | None = None
    """Of each answer in words, at most; null: as many as the task's file says, or else 256."""
    sampling: Sampling = Sampling.greedy
    """How answers in words are made."""
    allow_code_execution: bool = False
    """Run the code that a model writes, shut off from the network, where a task is to grade it."""
    allow_task_code: bool = field(default=False, metadata=LABEL)
    """Run the Python functions that the user's own task files name (``!function``), with all their rights."""
    include_path: str | None = None
    """Directory of further tasks' YAML files, as lm-eval's ``--include_path``. Never recorded."""

    def __post_init__(self) -> None:
        require_seed("task.seed", self.seed)
        require(self.items >= 0, "task.items", self.items, "0 (all) or more")
        if self.fewshot is not None:
            require(self.fewshot >= 0, "task.fewshot", self.fewshot, "0 or more, or null")
        if self.answer_tokens is not None:
            most = self.answer_tokens
            require(most >= 1, "task.answer_tokens", most, "1 or more, or null")
        require(len(self.names) > 0, "task.names", self.names, "a list of one task or more")
        if self.chat_template not in (True, False, "auto"):
            raise UserError(
                f"task.chat_template={self.chat_template} is none of auto, true and false: choose one."
            )


@dataclass(frozen=True)
class WorkloadSpec:
    """What one request looks like: greedy generation from real text."""

    name: str = field(metadata=LABEL)
    """What tables call it."""
    batch_size: int = 1
    """Prompts answered at once."""
    prompt_tokens: int = 64
    """Of each prompt, its frame included."""
    output_tokens: int = 32
    """Of each answer: exactly, or at most."""
    stop: Stop = Stop.fixed
    """When an answer ends."""
    chat_template: bool = False
    """Put the text into the model's chat template, where it has one."""

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "workload.batch_size", self.batch_size, "1 or more")
        require(self.prompt_tokens >= 1, "workload.prompt_tokens", self.prompt_tokens, "1 or more")
        require(
            self.output_tokens >= 2,
            "workload.output_tokens",
            self.output_tokens,
            "2 or more (time per output token needs two)",
        )


@dataclass(frozen=True)
class MeterSpec:
    """Which meters to try, in order; the first that answers is the run's meter."""

    order: list[str] = field(default_factory=lambda: ["nvml", "rapl", "estimate"])
    """What is tried, in order."""
    cpu_tdp_w: float | None = None
    """Thermal design power of one CPU package in watts, for the estimate; null: from the table."""
    wall_log: str | None = None
    """CSV log of a wall meter, joined by time once the windows are over. Its path is never recorded."""
    wall_offset_s: float = 0.0
    """How far the wall meter's clock is ahead of this machine's."""

    def __post_init__(self) -> None:
        require(len(self.order) > 0, "meter.order", self.order, "a list of one meter or more")
        for name in self.order:
            require_choice(name, "meter.order", named("greenbench.meters"))
        require(
            len(set(self.order)) == len(self.order), "meter.order", self.order, "each meter once"
        )
        if self.wall_log == "":
            raise UserError(
                "meter.wall_log is missing: a wall meter is read from its log; add "
                "meter.wall_log=FILE.csv."
            )
        if self.cpu_tdp_w is not None:
            require(self.cpu_tdp_w > 0, "meter.cpu_tdp_w", self.cpu_tdp_w, "more than 0 watts")


@dataclass(frozen=True)
class ProtocolSpec:
    """How long and how often to measure."""

    tier: Tier
    """What the numbers may claim."""
    window_s: float
    """A window repeats the workload at least this long."""
    min_iterations: int
    """... and at least this often."""
    blocks: int
    """At least this many."""
    max_blocks: int
    """As many as the spread of the first `blocks` asks for are measured, up to this many."""
    target_half_width: float
    """Half of the headline ratio's 95 % interval, as a fraction of the ratio, that is narrow enough."""
    idle_s: float
    """Length of the idle windows, longer where the counter steps seldom; 0: none."""
    warmup_s: float
    """At least this long for each of the two models, before the first block."""
    warmup_limit_s: float
    """At most this long for each, settled or not."""
    design: Design
    """``auto``: interleaved where both models fit on the device, else sequential."""
    time_limit_s: float = field(metadata=LABEL)
    """A run that takes longer is killed and recorded as such."""
    profile: Profiling = field(default=Profiling.never, metadata=LABEL)
    """Whether it is looked at what both models spend their time in, once all windows have been taken."""

    def __post_init__(self) -> None:
        window_s, blocks = TIERS[self.tier.value]
        room = f"protocol.blocks={self.blocks} to {MOST_BLOCKS}"
        warm = f"protocol.warmup_s={self.warmup_s:g} or more"
        for name, holds, allowed in (
            ("window_s", self.window_s >= 0, "0 or more"),
            ("min_iterations", self.min_iterations >= 1, "1 or more"),
            ("blocks", self.blocks >= 1, "1 or more"),
            ("idle_s", self.idle_s >= 0, "0 or more"),
            ("warmup_s", self.warmup_s >= 0, "0 or more"),
            ("max_blocks", self.blocks <= self.max_blocks <= MOST_BLOCKS, room),
            ("target_half_width", self.target_half_width > 0, "above 0"),
            ("warmup_limit_s", self.warmup_limit_s >= self.warmup_s, warm),
            ("time_limit_s", self.time_limit_s > 0, "more than 0"),
        ):
            require(holds, f"protocol.{name}", getattr(self, name), allowed)
        if self.window_s < window_s or self.blocks < blocks:
            raise UserError(
                f"protocol.tier={self.tier.value} promises windows of {window_s:g} s or more and "
                f"{blocks} blocks or more, but window_s={self.window_s:g} and blocks={self.blocks}: "
                f"raise them or say protocol.tier=smoke."
            )


USUAL_ENGINE = "transformers"
"""What ran every record of a time when there was no other."""


@dataclass(frozen=True)
class RunSpec:
    """One run. Everything here but labels, and nothing else, determines its result and its key."""

    model: ModelSpec
    """The base model."""
    technique: dict[str, Any]
    """Techniques by name, in the order in which they are applied; empty is the A/A run."""
    task: TaskSpec
    """What measures quality."""
    workload: WorkloadSpec
    """What one request looks like."""
    meter: MeterSpec
    """How joules are counted."""
    protocol: ProtocolSpec
    """How long and how often is measured."""
    load: LoadSpec = field(default_factory=LoadSpec)
    """How requests arrive."""
    slo: SloSpec = field(default_factory=SloSpec)
    """How soon each must be answered."""
    training: TrainingSpec = field(default_factory=TrainingSpec)
    """How models are trained, in place of all requests; of 0 tokens: they serve."""
    device: str = "auto"
    """``cpu``, ``cuda`` (the first visible GPU), ``cuda:N``, ``cuda_all`` (the model spread over all visible
    ones, measured as one device), or ``auto``: ``cuda`` where there is one."""
    twins: bool = False
    """Tell GPUs of one name apart: on each of them it is another run."""
    seed: int = 0
    """Of prompts, items, orders and trainings."""
    session: int = 1
    """Which of several times that the same is measured, each in processes of its own."""
    engine: Any = None
    """What runs the model: an Engine, whose name and fields stand in the record."""
    neighbours: int = field(default=0, metadata=LABEL)
    """Runs on other GPUs of this machine meanwhile, as the sweep that began them says: what counts the whole
    machine counts them too, so that no such meter is read."""
    allow_partial: bool = field(default=False, metadata=LABEL)
    """Run a technique that reaches under half of the weights it is meant for; its share stands in the
    record in any case."""

    def __post_init__(self) -> None:
        require_seed("seed", self.seed)
        require(
            1 <= self.session <= MOST_SESSIONS, "session", self.session, f"1 to {MOST_SESSIONS}"
        )
        require_training(self, TIERS[self.protocol.tier.value][1])
        require(self.neighbours >= 0, "neighbours", self.neighbours, "0 or more")
        require_device(self.device)
        arrivals = f"load.arrivals={self.load.arrivals.value}"
        if self.load.is_closed and self.slo != SloSpec():
            raise UserError(
                f"The limits of slo say nothing of {arrivals}, where each batch waits for the one before: "
                "leave them out, or say load.arrivals=poisson with a load.rate."
            )
        if not self.load.is_closed and self.workload.batch_size != 1:
            raise UserError(
                f"workload.batch_size={self.workload.batch_size} says nothing of {arrivals}, where requests "
                "come one by one: say workload.batch_size=1, and load.at_once=... for how many are answered "
                "beside each other."
            )

    @property
    def trains(self) -> bool:
        """Whether models are trained, and answer no request."""
        return self.training.tokens > 0
