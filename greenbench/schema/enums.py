"""What a spec chooses among."""

from __future__ import annotations

from enum import Enum


class Source(Enum):
    """Where a model's files come from."""

    wheel = "wheel"
    hub = "hub"
    local = "local"


class Dtype(Enum):
    """Floating-point types a model can be held in, named as torch names them."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Tier(Enum):
    """How much a protocol's numbers may be trusted."""

    smoke = "smoke"
    dev = "dev"
    publish = "publish"


class Design(Enum):
    """How the two models meet: both loaded and interleaved, or one after the other."""

    auto = "auto"
    interleaved = "interleaved"
    sequential = "sequential"


class Profiling(Enum):
    """Whether both models are profiled once all blocks are measured: never, where the promise was not
    kept, or always."""

    never = "never"
    when_not_kept = "when_not_kept"
    always = "always"


class Stop(Enum):
    """When an answer ends: at a fixed length, or where the model ends it (at most that length)."""

    fixed = "fixed"
    natural = "natural"


class Reference(Enum):
    """What a technique is measured against, where an engine can run a model in two ways.

    ``auto`` is decided before the run: ``compiled`` on a GPU where the model can be, else ``eager``.
    """

    auto = "auto"
    eager = "eager"
    compiled = "compiled"


class Arrivals(Enum):
    """When requests are sent.

    ``closed``: a batch when the one before is answered. ``concurrent``: so many users, each of whom asks
    again once answered. The others are open: at times of their own, however long the answers take.
    """

    closed = "closed"
    concurrent = "concurrent"
    poisson = "poisson"
    gamma = "gamma"
    constant = "constant"
    trace = "trace"


class Lengths(Enum):
    """How long prompts and answers are under load: all as the workload says, lognormal around that, prompts
    as long as their texts, or as a trace has them."""

    fixed = "fixed"
    lognormal = "lognormal"
    texts = "texts"
    trace = "trace"


class Sampling(Enum):
    """How an answer in words is made: of the likeliest tokens, or as the model's own files draw them."""

    greedy = "greedy"
    model = "model"
