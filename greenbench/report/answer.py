"""The first lines of the leaderboard: what helps here, at what cost in quality, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from greenbench.records import Quantity
from greenbench.report.rows import Group, Row
from greenbench.report.text import bounds, code, number, prose, show_plain

MARGINS = (1, 3)  # points of mean accuracy
EFFECT = 0.02  # design rule 6: a smaller effect is not called one


class Yardstick(NamedTuple):
    """The ratio that an answer ranks by, and how to speak about it."""

    metric: str
    sign: int
    """-1 where less is better, +1 where more is."""
    claim: str
    seen: str
    of: str


ENERGY = Yardstick(
    "energy_per_token", -1, "uses the least energy", "shows the fewest joules", "the baseline's J/token"
)
SPEED = Yardstick(
    "tokens_per_s", +1, "is the fastest", "shows the most speed", "the baseline's tokens per second"
)


def answer(group: Group) -> list[str]:
    """Sentences about `group`: measured energy where there is some, otherwise measured speed.

    A saving needs its whole 95 % interval better than 1 and an effect above 2 %; tier smoke claims none.
    """
    yardstick = ENERGY if group.setting.measured else SPEED
    techniques = [row for row in group.rows if not row.is_baseline]
    lines = _preface(group)
    if not techniques:
        return [*lines, "Only the A/A run is here: add a technique to compare with it."]
    return [*lines, *_findings(techniques, yardstick, claims=group.setting.claims)]


def helps(ratio: Quantity, yardstick: Yardstick) -> bool:
    """Whether `ratio` is better than 1 with its whole interval, and by more than 2 %."""
    interval = bounds(ratio)
    if ratio.value is None or interval is None:
        return False
    nearest = max(interval) if yardstick.sign < 0 else min(interval)
    return yardstick.sign * (nearest - 1) > 0 and yardstick.sign * (ratio.value - 1) > EFFECT


def noise_floor(row: Row) -> str:
    """What an A/A run shows: how far apart two equal models measure."""
    parts = []
    for yardstick, words in ((ENERGY, "energy"), (SPEED, "speed")):
        ratio = row.ratio(yardstick.metric)
        interval = bounds(ratio)
        parts.append(f"{words} {show_plain(ratio, suffix='×')}")
        if interval and not interval[0] <= 1 <= interval[1]:
            parts[-1] += ", which excludes 1: something here favours one side, so trust no smaller effect"
    return f"{code(row.label)} compares the baseline with itself: {'; '.join(parts)}."


def _preface(group: Group) -> list[str]:
    setting = group.setting
    lines = []
    if not setting.claims:
        lines.append(
            f"**No claims:** tier {prose(setting.tier)} is too short for any; "
            "what follows was seen, and shows no more than that everything works."
        )
    if setting.source == "unavailable":
        lines.append("No joules could be had here, so this is about measured **speed**.")
    elif not setting.measured:
        lines.append(
            "Joules here are **estimated** (≈): they track CPU time, so they cannot show a saving "
            "that latency does not show, and this is about measured **speed**."
        )
    return lines


def _findings(rows: Sequence[Row], yardstick: Yardstick, *, claims: bool) -> list[str]:
    lines: list[str] = []
    last: Row | None = None
    for margin in MARGINS:
        kept = [row for row in rows if row.change.value is not None and row.change.value >= -margin]
        winner = _best([row for row in kept if helps(row.ratio(yardstick.metric), yardstick)], yardstick)
        where = f"Within {margin} point{'s' if margin > 1 else ''} of the baseline's quality"
        if winner and winner is last:
            lines.append(f"{where}: the same.")
        elif winner:
            lines.append(f"{where}, {_praise(winner, kept, margin, yardstick, claims=claims)}")
        else:
            lines.append(f"{where}, {_nothing(kept, yardstick)}")
        last = winner
    return lines


def _best(rows: Sequence[Row], yardstick: Yardstick) -> Row | None:
    """The row with the best ratio, by label where equal."""
    known = [(-yardstick.sign * value, row.label, row) for row, value in _values(rows, yardstick)]
    return min(known, key=lambda entry: entry[:2])[2] if known else None


def _values(rows: Sequence[Row], yardstick: Yardstick) -> list[tuple[Row, float]]:
    pairs = ((row, row.ratio(yardstick.metric).value) for row in rows)
    return [(row, value) for row, value in pairs if value is not None]


def _praise(
    row: Row, kept: Sequence[Row], margin: float, yardstick: Yardstick, *, claims: bool
) -> str:
    ratio = row.ratio(yardstick.metric)
    words = [
        f"{code(row.label)} {yardstick.claim if claims else yardstick.seen}: "
        f"**{show_plain(ratio, suffix='×')}** {yardstick.of}",
        f"quality {_quality(row, margin)}",
    ]
    if yardstick is SPEED and row.energy.value is not None:
        words.append(f"energy, only an estimate, {show_plain(row.ratio(ENERGY.metric), suffix='×')}")
    rivals = [other for other in kept if other is not row and _overlap(ratio, other, yardstick)]
    if rivals:
        names = ", ".join(code(other.label) for other in rivals)
        words.append(f"not told apart from {names}, whose interval overlaps")
    return "; ".join(words) + "."


def _quality(row: Row, margin: float) -> str:
    change = row.change
    text = f"{show_plain(change, suffix=' points', change=True)}"
    interval = bounds(change)
    if interval and interval[0] < -margin:
        text += f", so a loss beyond {margin:g} point{'s' if margin > 1 else ''} is not excluded"
    bits = row.bits_per_byte
    if bits and bits.change.value is not None and bits.baseline.value:
        share = 100 * bits.change.value / bits.baseline.value
        text += f"; bits per byte {'+' if share >= 0 else ''}{number(share)} %"
    return text


def _overlap(ratio: Quantity, other: Row, yardstick: Yardstick) -> bool:
    rival = other.ratio(yardstick.metric)
    mine, theirs = bounds(ratio), bounds(rival)
    return bool(mine and theirs and mine[0] <= theirs[1] and theirs[0] <= mine[1])


def _nothing(kept: Sequence[Row], yardstick: Yardstick) -> str:
    nearest = _best(kept, yardstick)
    if nearest is None:
        return "there is no technique: none kept that quality, or none has both numbers."
    ratio = show_plain(nearest.ratio(yardstick.metric), suffix="×")
    return f"nothing helps: the nearest, {code(nearest.label)}, is at {ratio} {yardstick.of}."
