"""Whether published numbers are reproduced: their zones against intervals of one's own.

A published number has a zone. Where its repeats' spread was published that is their 95 % interval and 2 % to
either side (design rule 6: less is no effect); else the number and a tenth of its effect, 2 % at least; a
level, as joules of one GPU, and 22 %, as identical GPUs differ by so much at worst. All on the log scale.

``reproduced``: our 95 % interval lies within the zone. ``contradicted``: it lies outside, even widened for so
many rows of the table as can be compared (Bonferroni), so that the chance of any false one is 5 %.
``undecided``: neither, or nothing may be claimed, as of a number whose lengths were not told.
``not comparable``: our runs measure something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp, inf, log, log1p
from typing import Final, Literal, NamedTuple

from scipy.special import stdtrit

from greenbench.analysis.groups.rows import is_invalid
from greenbench.analysis.groups.sessions import by_run
from greenbench.analysis.reproduction.alike import (
    Difference,
    differences,
    has_technique,
    tells_lengths,
    unlike,
)
from greenbench.analysis.reproduction.measured import Ours, ours
from greenbench.analysis.reproduction.tables import Published, Table
from greenbench.analysis.yardstick import EFFECT
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.stats.intervals import CONFIDENCE

PART: Final = 0.1
"""Of an effect that was published once, that is no contradiction."""
TWINS: Final = 0.22
"""By which identical GPUs differ at worst."""
Word = Literal["reproduced", "contradicted", "undecided", "not comparable"]
WORDS: Final[tuple[Word, ...]] = ("reproduced", "contradicted", "undecided", "not comparable")


class Zone(NamedTuple):
    """What a published number allows, and how that was drawn."""

    low: float
    high: float
    how: str


class Judged(NamedTuple):
    """One row, and what runs say of it."""

    row: Published
    word: Word
    zone: Zone
    ours: Quantity
    why: list[str]
    """What differs, or why nothing can be told."""
    records: list[Record]
    """That it rests on."""


class _Held(NamedTuple):
    """The runs that are nearest to a row, and what they have otherwise."""

    records: list[Record]
    ours: Ours
    differ: list[str]
    barred: str | None = None
    """Why nothing may be claimed of it."""


def zone(row: Published) -> Zone:
    """Of a published number."""
    found, level = row.interval, bool(row.unit)
    low, high = found.bounds or (found.value, found.value)
    if level:
        margin, how = log1p(TWINS), "22 %, as twins of a GPU differ"
    elif found.bounds:
        margin, how = log1p(EFFECT), "its 95 % interval and 2 %"
    else:
        margin = max(PART * abs(log(found.value)), log1p(EFFECT))
        how = "a tenth of the effect or 2 %, as no spread was published"
    return Zone(low * exp(-margin), high * exp(margin), how)


def judged(table: Table, records: Iterable[Record]) -> list[Judged]:
    """Each row of the table, against the runs that are nearest to it."""
    usable = [
        record for record in records
        if record.status == "completed" and record.training is None and not is_invalid(record)
    ]  # fmt: skip
    runs = [run.record for run in by_run(usable)]
    held = [_held(row, runs) for row in table.rows]
    looks = sum(not each.differ and not each.barred for each in held)
    return [_judged(row, each, looks) for row, each in zip(table.rows, held, strict=True)]


def _held(row: Published, runs: Sequence[Record]) -> _Held:
    if row.against is not None:
        return _of_both(row, runs)
    mine = [record for record in runs if has_technique(row, record.spec)]
    if not mine:
        return _none(row, _lacking(row, runs))
    (record, differ), *_ = _nearest(row, mine, row.model)
    return _with(row, [record], ours(row, record), [str(each) for each in differ])


def _of_both(row: Published, runs: Sequence[Record]) -> _Held:
    """Each model's own run, which must have been measured alike."""
    if not runs:
        return _none(row, "no run")
    first, second = (_nearest(row, runs, str(model)) for model in (row.model, row.against))
    pairs = [(one, other) for one in first for other in second if one[0] is not other[0]]
    if not pairs:
        return _none(row, f"no runs of both {row.model} and {row.against}")
    (after, mine), (before, other) = min(
        pairs, key=lambda pair: len(unlike(pair[0][0], pair[1][0]))
    )
    differ = dict.fromkeys([*map(str, [*mine, *other]), *unlike(after, before)])
    return _with(row, [after, before], ours(row, after, before), list(differ))


def _none(row: Published, why: str) -> _Held:
    return _Held([], Ours(missing(row.unit or "ratio", why), 0), [why])


def _lacking(row: Published, runs: Sequence[Record]) -> str:
    """What there is no run of."""
    stacks = ([each.name for each in record.spec.technique] for record in runs)
    knobs = " with the same knobs" if row.technique and [row.technique] in stacks else ""
    return f"no run of {row.technique or 'it'}{knobs}"


def _with(row: Published, records: list[Record], found: Ours, differ: list[str]) -> _Held:
    """With why there is no number of ours, such as that it cannot be had in the row's basis."""
    if found.found.value is None:
        why = str(found.found.reason)
        differ = [
            *differ,
            f"basis (above idle there, and here {why})" if row.basis == "net" else why,
        ]
    if row.apart:
        differ = [row.apart, *differ]
    return _Held(records, found, differ, _barred(row, records))


def _barred(row: Published, records: Iterable[Record]) -> str | None:
    if any(record.spec.protocol.tier == "smoke" for record in records):
        return "tier smoke claims nothing"
    return None if tells_lengths(row) else "its lengths were not told"


def _nearest(
    row: Published, records: Sequence[Record], model: str
) -> list[tuple[Record, list[Difference]]]:
    """The runs with the fewest differences, the newest first."""
    newest = sorted(records, key=lambda record: record.started_at, reverse=True)
    found = [(record, differences(row, record, model)) for record in newest]
    least = min(len(differ) for _, differ in found)
    return [each for each in found if len(each[1]) == least]


def _judged(row: Published, held: _Held, looks: int) -> Judged:
    allowed = zone(row)
    word, why = _word(allowed, held, looks)
    return Judged(row, word, allowed, held.ours.found, why, held.records)


def _word(allowed: Zone, held: _Held, looks: int) -> tuple[Word, list[str]]:
    if held.differ:
        return "not comparable", held.differ
    found, freedom = held.ours
    if found.value is None or found.bounds is None:
        return "undecided", [found.reason or "no interval"]
    if held.barred:
        return "undecided", [held.barred]
    low, high = found.bounds
    if allowed.low <= low and high <= allowed.high:
        return "reproduced", []
    low, high = widened(found, looks, freedom)
    if high < allowed.low or allowed.high < low:
        return "contradicted", []
    return "undecided", ["our interval lies across the edge of what the number allows"]


def widened(found: Quantity, looks: int, freedom: float) -> tuple[float, float]:
    """The interval of `found`, of so many degrees of freedom, so that all of `looks` such hold at once with
    95 %: all numbers where it reaches down to 0, as it says no more on the log scale."""
    low, high = found.bounds or (0.0, inf)
    if found.value is None or low <= 0 or freedom <= 0:
        return 0.0, inf
    many, one = (1 - (1 - CONFIDENCE) / (2 * each) for each in (max(1, looks), 1))
    factor = float(stdtrit(freedom, many) / stdtrit(freedom, one))
    value = found.value
    return value * (low / value) ** factor, value * (high / value) ** factor
