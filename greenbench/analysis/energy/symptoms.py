"""Causes of a promise not kept that a record without a profile shows, each by a stated rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from typing import Any, Final, NamedTuple

from greenbench.analysis.blocks import valid_blocks
from greenbench.analysis.energy.causes import DEQUANTIZATION, SLOW, ZEROS
from greenbench.analysis.energy.promises import product, promised_ratio, seconds_per_token
from greenbench.analysis.groups.rows import Row
from greenbench.analysis.readings import ANSWERED, joules
from greenbench.schema.metrics import MODEL_BYTES, TTFT
from greenbench.schema.record import Findings
from greenbench.schema.window import Who
from greenbench.wording import fixed

EFFECT = 0.02  # a smaller difference is none, as for verdicts
HALF = 0.5
WHO: tuple[Who, Who] = ("baseline", "candidate")
BUSY = 50.0  # percent of the time


class Evidence(NamedTuple):
    """What shows a cause: a sentence, and the kernels that are its subject, if any are."""

    text: str
    kernels: Sequence[str] = ()


class Symptom(NamedTuple):
    """A cause by name, the rule that decides it, and the evidence where it holds."""

    name: str
    rule: str
    evidence: Callable[[Row], str | Evidence | None]
    guessed: bool = False
    """Whether a profile, where there is one, knows better."""


def _kernels(row: Row) -> set[str]:
    named = (part.promise.kernel or "" for part in row.record.techniques)
    return {name.strip() for kernel in named for name in kernel.split(",")}


def _dense(row: Row) -> str | None:
    zeros = [part.promise.sparsity for part in row.record.techniques if part.promise.sparsity]
    if not zeros or "dense" not in _kernels(row):
        return None
    return f"{100 * max(zeros):.0f} % zeros are multiplied like any number"


def _dequantized(row: Row) -> str | None:
    time, held = seconds_per_token(row.record).value, row.ratio(MODEL_BYTES).value
    if "dequantize" not in _kernels(row) or time is None or held is None:
        return None
    if time <= min(held, 1.0) + EFFECT:
        return None
    return f"weights or cache are expanded before each use (time {_of(time)}, bytes {_of(held)})"


def _slow(row: Row) -> Evidence | None:
    time, held = seconds_per_token(row.record).value, row.ratio(MODEL_BYTES).value
    own = sorted(_kernels(row) - {"", "dense", "dequantize"})
    if not own or time is None or held is None or held > 1 - EFFECT or time < 1 - EFFECT:
        return None
    return Evidence(f"took {_of(time)} the time for {_of(held)} the bytes", own)


def _drafted(row: Row) -> str | None:
    said = []
    for seen in _observed(row.record, "drafted"):
        drafted, accepted = seen["drafted"], seen.get("accepted")
        if isinstance(drafted, int) and isinstance(accepted, int) and drafted:
            said.append(f"{100 * accepted / drafted:.0f} % of {drafted} drafts were accepted")
    time = seconds_per_token(row.record).value
    return "; ".join(said) if said and time is not None and time >= 1 - EFFECT else None


def exits(found: Findings) -> list[dict[str, Any]]:
    """What each technique that leaves a model early has shown."""
    return list(_observed(found, "mean_depth"))


def _no_exits(row: Row) -> str | None:
    layers = (row.record.baseline.layers if row.record.baseline else None) or 0
    for seen in exits(row.record):
        depth = seen["mean_depth"]
        if isinstance(depth, int | float) and layers and depth >= (1 - EFFECT) * layers:
            return f"tokens took {fixed(depth, 1)} of {layers} blocks"
    return None


def _heads(row: Row) -> str | None:
    time = seconds_per_token(row.record).value
    done = [seen.get("flops_ratio") for seen in exits(row.record)]
    for work in [each for each in done if isinstance(each, int | float)]:
        if time is not None and work < min(1.0, time) - EFFECT:
            return f"multiplications fell to {_of(work)}, time to {_of(time)}"
    return None


def _choosing(row: Row) -> str | None:
    time = seconds_per_token(row.record).value
    for seen in _observed(
        row.record, "active_bytes_ratio"
    ):  # the first has seen what those after change
        read = seen["active_bytes_ratio"]
        if time is not None and isinstance(read, int | float) and read < min(1.0, time) - EFFECT:
            return f"active bytes fell to {_of(read)}, time to {_of(time)}"
    return None


def _idle(row: Row) -> str | None:
    idle = row.record.idle.get("both")
    if idle is None or idle.value is None or not idle.is_measured:
        return None
    counted = [
        (spent, window.end_s - window.start_s)
        for window in valid_blocks(row.record.windows)
        if window.who == "candidate"
        and window.phase in ANSWERED
        and (spent := joules(window)) is not None
    ]
    total = sum(spent for spent, _ in counted)
    if total <= 0:
        return None
    share = idle.value * sum(seconds for _, seconds in counted) / total
    if share < HALF:
        return None
    return f"{100 * min(share, 1.0):.0f} % of the joules would be drawn idle as well"


def _waiting(row: Row) -> str | None:
    busy = [
        percent
        for window in valid_blocks(row.record.windows)
        if window.who == "candidate" and window.phase == "generate" and window.trace
        for percent in window.trace.utilization
        if percent is not None
    ]
    if not busy or fmean(busy) >= BUSY:
        return None
    return f"the GPU was busy {fmean(busy):.0f} % of the time"


def _memory(row: Row) -> str | None:
    """Time follows the bytes that are read, not the multiplications that were promised."""
    work, held = product(row.record, "flops_ratio"), row.ratio(MODEL_BYTES).value
    time = seconds_per_token(row.record).bounds
    if work is None or held is None or time is None or work >= held - EFFECT:
        return None
    if not time[0] <= held <= time[1] or time[0] <= work or time[0] <= 1 <= time[1]:
        return None
    return f"time follows the bytes ({_of(held)}), not the multiplications ({_of(work)})"


def _prefill(row: Row) -> str | None:
    """How much of the time that is missing from the saving lies before the first token."""
    promise = promised_ratio(row.record)
    sides = row.baseline, row.metrics
    first = [side[TTFT.name].value for side in sides if TTFT.name in side]
    whole = [_request_s(row, who) for who in WHO]
    known = [value for value in (*first, *whole) if value is not None]
    if promise is None or len(known) < 4:
        return None
    before, after, whole_before, whole_after = known
    missing_s, excess_s = whole_after - promise * whole_before, after - promise * before
    if missing_s <= 0 or excess_s < HALF * missing_s:
        return None
    return f"{100 * min(excess_s / missing_s, 1.0):.0f} % of the missing time is before the first token"


def _request_s(row: Row, who: Who) -> float | None:
    """Seconds of one request batch, over valid blocks."""
    mine = [
        seconds
        for window in valid_blocks(row.record.windows)
        if window.who == who and window.phase == "generate"
        for seconds in window.iteration_s
    ]
    return fmean(mine) if mine else None


def _observed(found: Findings, name: str) -> Iterator[dict[str, Any]]:
    return (part.observed for part in found.techniques if name in part.observed)


def _of(ratio: float) -> str:
    return f"{fixed(ratio, 2)}×"


SYMPTOMS: Final = (
    Symptom(ZEROS, "zeros were promised and the kernel is dense", _dense, guessed=True),
    Symptom(
        DEQUANTIZATION,
        "the kernel is dequantize, and time per token fell by less than the bytes",
        _dequantized,
        guessed=True,
    ),
    Symptom(
        SLOW,
        "the kernel is neither dense nor dequantize, the bytes fell, and time per token did not "
        "by 2 %",
        _slow,
        guessed=True,
    ),
    Symptom("drafting", "drafts were counted, and time per token did not fall by 2 %", _drafted),
    Symptom("no exits", "the mean exit depth is within 2 % of all blocks", _no_exits),
    Symptom(
        "overhead of exits",
        "the multiplications counted fell by over 2 % more than time per token",
        _heads,
        guessed=True,
    ),
    Symptom(
        "overhead of choosing",
        "active bytes fell by over 2 % more than token time",
        _choosing,
        guessed=True,
    ),
    Symptom(
        "idle-dominated",
        "measured idle power times the candidate's time is half of its joules or more",
        _idle,
    ),
    Symptom(
        "GPU waits",
        "its mean utilization is below 50 % while it generates",
        _waiting,
        guessed=True,
    ),
    Symptom(
        "memory-bound",
        "the interval of time per token holds the ratio of bytes, but neither 1 nor the ratio of "
        "multiplications",
        _memory,
        guessed=True,
    ),
    Symptom("prefill", "half of the missing time or more lies before the first token", _prefill),
)
