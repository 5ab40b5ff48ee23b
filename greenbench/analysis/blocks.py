"""From windows to numbers: levels per model and candidate-over-baseline ratios, paired by block."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf
from typing import NamedTuple

import numpy as np

from greenbench.analysis.readings import (
    NO_VALUE,
    PAIRED,
    READINGS,
    TOGETHER,
    Full,
    Reading,
    decode,
    joules,
    provenance,
    values,
    why,
)
from greenbench.analysis.verdicts import judge
from greenbench.schema.codes import Validity
from greenbench.schema.metrics import (
    DECODE_ENERGY_PER_TOKEN,
    ENERGY_PER_TOKEN_HIGH,
    ENERGY_PER_TOKEN_LOW,
)
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.verdict import Verdict
from greenbench.schema.window import WHO, Who, Window
from greenbench.stats.intervals import (
    Interval,
    geometric_mean,
    mean_interval,
    paired_ratio,
    t_quantile,
)
from greenbench.stats.standard_errors import Error, Logs, Stays, errors, stay_error, stay_errors

TOO_SHORT = "a block's difference is not above 0: windows are too short to tell"
DECODED = Reading(DECODE_ENERGY_PER_TOKEN, ("prefill", "generate"), lambda _: None, energy=True)
"""Read off two windows at once, by `decode`."""


def metrics(
    windows: Sequence[Window],
    who: Who,
    no_energy: str,
    full: Full = None,
    *,
    in_turn: bool = False,
) -> dict[str, Quantity]:
    """Every level of one model: the geometric mean over blocks with its t interval, or that over stays."""
    stayed = stays(windows) if in_turn else None
    found = {
        each.metric.name: level(
            decode(windows, who) if each is DECODED else values(windows, who, each, full),
            each.metric.unit,
            provenance(windows, each),
            no_energy,
            why(windows, who, each, full),
            _own_shift(_sides(windows, each, full), stayed, who),
        )
        for each in (*READINGS, DECODED)
    }
    if provenance(windows, DECODED) != "estimated:model":  # only an estimate has model bounds
        del found[ENERGY_PER_TOKEN_LOW.name], found[ENERGY_PER_TOKEN_HIGH.name]
    return found


def ratios(
    windows: Sequence[Window],
    no_energy: str,
    full: Full = None,
    first: int | None = None,
    *,
    in_turn: bool = False,
) -> dict[str, Quantity]:
    """Candidate over baseline for every metric that has a ratio, paired by block.

    `first`: of the valid blocks, those by which it was decided how many there would be.
    """
    stayed = stays(windows) if in_turn else None
    return {
        each.metric.ratio: paired(
            *_sides(windows, each, full),
            provenance(windows, each),
            no_energy,
            _why(windows, each, full),
            first,
            stayed,
        )
        for each in (*PAIRED, DECODED)
    }


def _sides(
    windows: Sequence[Window], reading: Reading, full: Full = None
) -> tuple[list[float], list[float]]:
    """Baseline and candidate by block; both empty if either is."""
    read = decode if reading is DECODED else partial(values, reading=reading, full=full)
    before, after = (read(windows, who) for who in WHO)
    return (before, after) if before and after else ([], [])


def _why(windows: Sequence[Window], reading: Reading, full: Full = None) -> str:
    reasons = (why(windows, who, reading, full) for who in WHO)
    return next((reason for reason in reasons if reason != NO_VALUE), NO_VALUE)


def block_values(windows: Sequence[Window], name: str) -> tuple[list[float], list[float]]:
    """One metric of both models, by its ratio's name, in each valid block; both empty if either is."""
    reading = next(each for each in PAIRED if each.metric.ratio == name)
    return _sides(valid_blocks(windows), reading)


def block_ratios(windows: Sequence[Window], name: str) -> list[float]:
    """Candidate over baseline of it."""
    pairs = zip(*block_values(windows, name), strict=False)
    return [after / before for before, after in pairs if before > 0 < after]


def verdicts(
    windows: Sequence[Window],
    tier: str,
    validity: Validity,
    full: Full = None,
    first: int | None = None,
    *,
    in_turn: bool = False,
) -> dict[str, Verdict]:
    """What each ratio of this run alone shows, by the ratio's name; `first` as in `ratios`."""
    stayed = stays(windows) if in_turn else None
    return {
        each.metric.ratio: judge(
            each.metric.ratio,
            *_sides(windows, each, full),
            provenance=provenance(windows, each),
            tier=tier,
            validity=validity,
            first=first,
            stays=stayed,
        )
        for each in PAIRED
        if provenance(windows, each) != "unavailable" and _why(windows, each) != TOGETHER
    }


def energy_of(window: Window) -> Quantity:
    """Joules of one window by the first meter."""
    counted_j = joules(window)
    if counted_j is None:
        return missing("J", window.energy_reason or "no meter answered")
    if counted_j <= 0:
        return missing("J", "shorter than the meter's tick")
    span = window.energy[0]
    return Quantity(
        value=counted_j,
        unit="J",
        provenance=span.provenance,
        n=1,
        low=span.low_j,
        high=span.high_j,
        reason="done once: no interval" if span.low_j is None else "bounds of the estimate",
    )


def valid_blocks(windows: Sequence[Window]) -> list[Window]:
    """The windows of the blocks in which every window is valid: a block counts whole or not at all."""
    spoiled = {w.block for w in windows if w.validity == "invalid"}
    return [w for w in windows if w.block is not None and w.block not in spoiled]


def planned(blocks: int, *, in_turn: bool) -> int:
    """Blocks of a protocol before it is decided how many there will be: whole turns, where in turn."""
    return -(-blocks // 4) * 4 if in_turn else blocks


def deciding(windows: Sequence[Window], blocks: int) -> int:
    """How many of the valid blocks are among the first `blocks`, those that were `planned`."""
    return len({window.block for window in valid_blocks(windows) if (window.block or 0) < blocks})


def deciding_of(record: Record) -> int:
    """The same of a record's own blocks."""
    in_turn = record.design == "sequential"
    return deciding(record.windows, planned(record.spec.protocol.blocks, in_turn=in_turn))


def stays(windows: Sequence[Window]) -> Stays:
    """Of models measured in turn, the stay of each of the blocks of `windows`, of one load, in order."""
    found: dict[Who, dict[int, int]] = {who: {} for who in WHO}
    stay, last = 0, None
    for window in sorted(windows, key=lambda each: each.start_s):
        if window.place is None or window.who not in WHO:
            continue
        stay, last = stay + (window.who != last), window.who
        found[window.who][window.place.unit] = stay
    baseline, candidate = ([own[block] for block in sorted(own)] for own in found.values())
    return baseline, candidate


def ratio_of(record: Record, before: Sequence[float], after: Sequence[float]) -> Interval:
    """Of one value above 0 for each valid block; its interval pays for how the record's blocks were taken."""
    return paired_ratio(before, after, *taken(record, len(before)))


def shift_of(windows: Sequence[Window], name: str, of: Stays | None = None) -> Error | None:
    """Of models in turn, the error of its log-ratio by what loadings shift, over its stays or others."""
    return _shift(block_values(windows, name), stays(valid_blocks(windows)), of)


def _shift(sides: Sequence[Sequence[float]], stayed: Stays, of: Stays | None) -> Error | None:
    if not sides[0] or [*map(len, sides)] != [*map(len, stayed)] or min(map(min, sides)) <= 0:
        return None
    return stay_error([np.log(side) for side in sides], stayed, of)


class Taken(NamedTuple):
    """How blocks were taken, for which a ratio's interval pays (rules 3 and 22)."""

    first: int | None
    """So many of them decided how many there are; null: none did."""
    stays: Stays | None
    """Of models in turn."""

    def least(self, logs: Logs) -> float:
        """Half of the interval that both models' `logs` by block differ with at least; (2, blocks)."""
        found = self.errors(logs)[1:]
        return max((e.size * t_quantile(e.freedom + 1) for e in found), default=0.0)

    def errors(self, logs: Logs) -> list[Error]:
        """Of what the means of both models' `logs` differ by: first by all blocks, then by how they came."""
        of_stays = stay_errors(logs, self.stays, self.first)
        return [*errors(logs[1] - logs[0], self.first), *of_stays]


def taken(record: Record, blocks: int) -> Taken:
    """How those `blocks` were of which something is known; stays where it is of all."""
    found = stays(valid_blocks(record.windows)) if record.design == "sequential" else ([], [])
    whole = len(found[0]) == len(found[1]) == blocks
    return Taken(deciding_of(record), found if whole else None)


def level(
    by_block: list[float],
    unit: str,
    source: Provenance,
    no_energy: str,
    because: str = NO_VALUE,
    others: Sequence[Error] = (),
) -> Quantity:
    """Mean of one value per block, geometric where it can be; `no_energy`, or `because`, says why not.
    `others` are errors of its logarithm, which may be greater than that by blocks."""
    if not by_block:
        return missing(unit, no_energy if source == "unavailable" else because)
    if min(by_block) <= 0:  # as a difference may be
        return as_quantity(mean_interval(by_block), unit, source)
    return as_quantity(geometric_mean(by_block, others), unit, source)


def _own_shift(sides: Sequence[Sequence[float]], stayed: Stays | None, who: Who) -> list[Error]:
    """Of models in turn, the error of one's level by what each loading shifts, as both their stays show."""
    error = stayed and _shift(sides, stayed, (stayed[WHO.index(who)], []))
    return [error] if error else []


def as_amount(interval: Interval, unit: str, source: Provenance, most: float = inf) -> Quantity:
    """The same of what is never below 0 nor above `most`: a t interval of few values knows no such ends."""
    low, high = interval.low, interval.high
    if low is None or high is None:
        return as_quantity(interval, unit, source)
    return as_quantity(interval._replace(low=max(0.0, low), high=min(most, high)), unit, source)


def as_quantity(interval: Interval, unit: str, source: Provenance) -> Quantity:
    """An interval as a record keeps it."""
    return Quantity(**interval._asdict(), unit=unit, provenance=source)


def paired(
    baseline: list[float],
    candidate: list[float],
    source: Provenance,
    no_energy: str,
    because: str = NO_VALUE,
    first: int | None = None,
    stayed: Stays | None = None,
) -> Quantity:
    """Candidate over baseline of one value per block each; `first` as in `ratios`."""
    if not baseline or not candidate:
        return missing("ratio", no_energy if source == "unavailable" else because)
    if min(*baseline, *candidate) <= 0:
        return missing("ratio", TOO_SHORT)
    return as_quantity(paired_ratio(baseline, candidate, first, stayed), "ratio", source)
