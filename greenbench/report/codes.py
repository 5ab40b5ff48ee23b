"""What the codes of windows and runs mean, in plain words."""

from __future__ import annotations

from collections import Counter
from typing import Final

from greenbench.records import Record
from greenbench.report.text import code

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


def counted(record: Record) -> dict[str, str]:
    """The run's codes, or its windows' where it has none, with how many windows have each, in words."""
    counts = Counter(found for window in record.windows for found in window.codes)
    return {
        found: _count(counts[found], len(record.windows))
        for found in record.codes or sorted(counts)
    }


def explained(record: Record) -> str:
    """The same in a sentence, each code with its meaning."""
    parts = [f"{code(found)}{count}: {meaning(found)}" for found, count in counted(record).items()]
    return "; ".join(parts) or "no code was recorded"


def _count(windows: int, of: int) -> str:
    return f" in {windows} of {of} windows" if windows else ""
