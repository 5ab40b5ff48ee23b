"""A metered interval, with its raw readings."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from greenbench.schema.codes import Validity
from greenbench.schema.difficulty import Bin
from greenbench.schema.quantity import Boundary, Part, Provenance
from greenbench.schema.traffic import Traffic

Who = Literal["baseline", "candidate"]


Phase = Literal[
    "prepare", "prefill", "generate", "score", "answer", "solve", "serve", "tune", "train", "idle"
]
"""What is done in a window."""


class Span(Part):
    """What one meter counted over one window: two readings of a cumulative joule counter."""

    meter: str
    """Its name."""
    boundary: Boundary
    provenance: Provenance
    tick_s: float
    """Seconds between two steps of its counter."""
    start_s: float
    """Seconds on the worker's monotonic clock, counted from the run's start."""
    start_j: float
    """Joules counted at the window's start."""
    end_s: float
    end_j: float
    """Joules counted at the window's end."""
    low_j: float | None = None
    """Bounds of the joules in this window, for an estimate."""
    high_j: float | None = None
    """The upper bound, likewise."""
    read_s: float | None = None
    """Seconds that the longer of the two readings took, within which its time is not known; null where nobody
    timed it."""


class Percentiles(Part):
    """Percentiles of one window's raw latencies, in seconds."""

    p50_s: float
    p90_s: float
    p99_s: float
    n: int


class Trace(Part):
    """How the device fared during a window, resampled; null where nothing was reported."""

    step_s: float
    """Seconds between two points; the first lies half a step after the window's start."""
    power_w: list[float | None]
    """Of all GPUs, or packages of the CPU, together, or of the machine where a wall meter alone tells; mean
    over the step."""
    temperature_c: list[int | None]
    """Of the hottest."""
    sm_mhz: list[int | None]
    """Clock of the slowest."""
    mem_mhz: list[int | None]
    """Memory clock of the slowest."""
    throttle: list[int | None]
    """NVML's clock event reasons, bits; `POWER_CAP` is one of them."""
    utilization: list[int | None]
    """Per cent of the time with a kernel running, of the busiest."""


POWER_CAP: Final = 0x4
"""nvmlClocksEventReasonSwPowerCap: the power limit holds the clocks back."""


class Place(Part):
    """Where a window stands among those that are paired with it."""

    series: Literal["block", "round", "load", "group", "seed"]
    """Blocks pair the windows of the workload, rounds those of answers by difficulty, groups those of items
    that are answered in words, seeds those of two trainings; load: windows of a block at another load than
    the run's own."""
    unit: int
    """Number of the block, round, group or seed."""
    position: int
    """Place in its random order."""
    bin: Bin | None = None
    """In a round, how sure the baseline is of the questions that are asked."""
    load: float | None = None
    """Requests per second, or users; null where requests are sent one batch after another."""
    task: str | None = None
    """Of a group, the task that its items are of."""


class Window(Part):
    """A metered interval of one phase, with its raw readings."""

    phase: Phase
    who: Who | Literal["empty", "one", "both", "unloaded"]
    """Whose window; for an idle one what was loaded meanwhile: nothing yet, the baseline alone, both,
    nothing any more."""
    place: Place | None = None
    """Null for windows that are paired with no other (prepare, score, idle)."""
    start_s: float
    end_s: float
    iterations: int
    """Requests, a batch counting as one; under load, those that ended in it."""
    tokens: int
    """Tokens really generated, padding excluded."""
    prompt_tokens: int
    """Tokens of all prompts read."""
    energy: list[Span]
    """One for each meter; the first one's joules are the headline."""
    energy_reason: str | None = None
    """Why `energy` is empty."""
    iteration_s: list[float] = Field(default_factory=list)
    """Seconds that each request took, in order."""
    ttft: Percentiles | None = None
    """Seconds to the first token."""
    tpot: Percentiles | None = None
    """Seconds between successive tokens: of every gap, and under load of each request's mean gap."""
    traffic: Traffic | None = None
    """Under load, what came of its requests."""
    host_peak_bytes: int | None = None
    """High-water mark of the host's memory in this window; null where the kernel keeps none."""
    device_peak_bytes: int | None = None
    """High-water mark on the device in this window; null where it keeps none."""
    waiting_cpu_s: float | None = None
    """CPU seconds that the other model's server took meanwhile; null where it has none."""
    residual: float | None = None
    """NVML counter over the independent integral of sampled power, minus 1."""
    trace: Trace | None = None
    validity: Validity = "valid"
    codes: list[str] = Field(default_factory=list)
    """Machine-readable reasons for a validity other than valid."""

    @property
    def block(self) -> int | None:
        """The block that it is in, if any."""
        return self.place.unit if self.place and self.place.series == "block" else None


WHO: tuple[Who, ...] = ("baseline", "candidate")
