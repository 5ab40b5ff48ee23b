"""Fault codes: what each does to the window or run it falls into, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

Validity = Literal["valid", "flagged", "invalid"]


SEVERITY: dict[str, Validity] = {
    "clock_change": "flagged",
    "cpu_frequency_change": "flagged",
    "on_battery": "flagged",
    "drift": "flagged",
    "drift_high": "invalid",
    "other_load": "flagged",
    "short_window": "invalid",
    "too_few_blocks": "invalid",
    "unsettled": "flagged",
    "counter_reset": "invalid",
    "counter_stalled": "invalid",
    "device_lost": "invalid",
    "foreign_process": "invalid",
    "power_capped": "flagged",
    "residual": "flagged",
    "residual_high": "invalid",
    "sampler_gap": "invalid",
    "throttled": "invalid",
}
"""What each fault code does to the window, or the run, that it falls into."""


def validity(found: Sequence[str]) -> Validity:
    """The worst that the codes in `found` do to a window; unknown codes invalidate it."""
    severities = {SEVERITY.get(code, "invalid") for code in found}
    return "invalid" if "invalid" in severities else "flagged" if severities else "valid"


MEANINGS: Final = {
    "clock_change": "the GPU's clock moved by over 5 % during the window",
    "counter_reset": "the joule counter started again from 0 during the window",
    "counter_stalled": "the joule counter stood still during the window",
    "cpu_frequency_change": "the CPU's clock moved by over 5 % during the window",
    "device_lost": "the device vanished while it was metered",
    "drift": "the baseline, measured first and last, changed by over 2 % in between",
    "drift_high": "the baseline, measured first and last, changed by over 10 % in between",
    "foreign_process": "another process computed on the device",
    "on_battery": "the machine ran on its battery, where it may slow itself down",
    "other_load": "other programs, or the hypervisor, took over 10 % of the CPUs' time",
    "power_capped": "the power limit held the clocks back",
    "residual": "counter and sampled power differ by over 5 %",
    "residual_high": "counter and sampled power differ by over 10 %",
    "sampler_gap": "power went unsampled for too long",
    "short_window": "the window is short against the meter's tick",
    "throttled": "heat or a power brake slowed the device down",
    "too_few_blocks": "fewer valid blocks were left than the tier asks for",
    "unsettled": "the warm-up reached its limit before heat, power or latency had settled",
}


UNKNOWN: Final = "a code that this version of the report does not know"


def meaning(found: str) -> str:
    """What a code says."""
    return MEANINGS.get(found, UNKNOWN)
