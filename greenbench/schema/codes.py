"""Fault codes: what each does to the window or run it falls into, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

Validity = Literal["valid", "flagged", "invalid"]
"""The worst that the codes do to what they are of."""


class Fault(NamedTuple):
    """What a code does to the window, or the run, that it falls into, and what it says."""

    severity: Validity
    meaning: str


SHORT: Final = "short_window"
CODES: Final[Mapping[str, Fault]] = {
    "above_wall": Fault(
        "flagged", "the parts' counters together passed the wall meter's joules by over 5 %"
    ),
    "above_wall_high": Fault(
        "invalid", "the parts' counters together passed the wall meter's joules by over 10 %"
    ),
    "clock_apart": Fault(
        "invalid",
        "the GPU's clocks of a block's two models differed by over 5 % more or less than in most blocks",
    ),
    "clock_change": Fault("flagged", "the GPU's clock moved by over 5 % during the window"),
    "counter_jump": Fault(
        "invalid", "the joule counter rose by more than the device could draw in that time"
    ),
    "counter_reset": Fault("invalid", "the joule counter started again from 0 during the window"),
    "counter_stalled": Fault("invalid", "the joule counter stood still during the window"),
    "cpu_frequency_change": Fault("flagged", "the CPU's clock moved by over 5 % during the window"),
    "device_lost": Fault("invalid", "the device vanished while it was metered"),
    "drift": Fault(
        "flagged", "the baseline, measured first and last, changed by over 2 % in between"
    ),
    "drift_high": Fault(
        "invalid", "the baseline, measured first and last, changed by over 10 % in between"
    ),
    "failed_requests": Fault(
        "flagged", "over 5 % of the requests failed at the load of the run's own numbers"
    ),
    "foreign_process": Fault("invalid", "another process computed on the device"),
    "idle_neighbour": Fault(
        "flagged", "another process held memory of the device, though it computed nothing"
    ),
    "idle_technique": Fault(
        "flagged", "a technique did none of its work: what was measured is not what it can do"
    ),
    "late_sends": Fault(
        "flagged",
        "requests were sent late: over 5 % of the time that they took had passed before",
    ),
    "on_battery": Fault("flagged", "the machine ran on its battery, where it may slow itself down"),
    "other_load": Fault(
        "flagged", "other programs, or the hypervisor, took over 10 % of the CPUs' time"
    ),
    "power_capped": Fault(
        "flagged",
        "the power limit held the clocks back for one model and not, or for much less of the time, for "
        "the other",
    ),
    "residual": Fault("flagged", "counter and sampled power differ by over 5 %"),
    "residual_high": Fault("invalid", "counter and sampled power differ by over 10 %"),
    "sampler_gap": Fault("invalid", "power went unsampled for too long"),
    SHORT: Fault("invalid", "the window is short against the meter's tick"),
    "short_against_queue": Fault(
        "flagged",
        "the windows are shorter than ten times the time for which the queue remembers its length: "
        "intervals may be too narrow",
    ),
    "stalled": Fault(
        "invalid",
        "GreenBench itself stood still for a second or more: stopped, frozen, or asleep with the machine",
    ),
    "throttled": Fault("invalid", "heat or a power brake slowed the device down"),
    "too_few_blocks": Fault("invalid", "fewer valid blocks were left than the tier asks for"),
    "unsettled": Fault(
        "flagged", "the warm-up reached its limit before heat, power or latency had settled"
    ),
    "waiting_costs": Fault(
        "flagged", "the model that waited drew power or CPU time while the other was measured"
    ),
}
UNKNOWN: Final = Fault("invalid", "a code that this version of the report does not know")


def validity(found: Sequence[str]) -> Validity:
    """The worst that the codes in `found` do to a window; unknown codes invalidate it."""
    severities = {CODES.get(code, UNKNOWN).severity for code in found}
    return "invalid" if "invalid" in severities else "flagged" if severities else "valid"


def meaning(code: str) -> str:
    """What a code says."""
    return CODES.get(code, UNKNOWN).meaning
