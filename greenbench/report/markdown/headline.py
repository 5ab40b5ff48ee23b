"""The first lines of the leaderboard: what helps, what it costs, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

from greenbench.analysis.choices.picks import best_of, may_claim, overlap, stands_out, surely_within
from greenbench.analysis.groups.rows import Group, Row
from greenbench.analysis.yardstick import ENERGY, SOLVED, SPEED, Yardstick, yardstick_of
from greenbench.report.markdown.format import prose, run_name, show
from greenbench.report.markdown.sections.verdicts import LOUD, loud, tally
from greenbench.schema.metrics import ENERGY_PER_TOKEN_HIGH, ENERGY_PER_TOKEN_LOW
from greenbench.wording import TIMES, fixed, number, signed

MARGINS = (1, 3)  # points of accuracy


def answer(group: Group) -> list[str]:
    """Sentences about `group`: measured energy where there is some, per solved problem where answers were
    graded; otherwise measured speed.

    A saving needs the verdict `saves`; in records without verdicts, its whole 95 % interval better
    than 1 and an effect above 2 %. Where a verdict is barred that is a hint.
    """
    yardstick = yardstick_of(group)
    techniques = [row for row in group.rows if not row.is_baseline]
    lines = _preface(group)
    if not techniques:
        return [*lines, "Only the A/A run is here: add a technique to compare with it."]
    return [
        *lines,
        *_findings(techniques, yardstick, claims=may_claim(group, yardstick)),
        *tally(techniques, yardstick.metric.ratio, yardstick.noun),
    ]


def noise_floor(row: Row) -> str:
    """What an A/A run shows: how far apart two equal models measure."""
    yardsticks = [(ENERGY, "energy"), (SPEED, "speed")]
    if row.axis is SOLVED.metric:
        yardsticks.insert(1, (SOLVED, SOLVED.noun))
    parts = [_noise(row, yardstick, word) for yardstick, word in yardsticks]
    return f"{run_name(row)} compares the baseline with itself: {'; '.join(parts)}."


def _noise(row: Row, yardstick: Yardstick, word: str) -> str:
    ratio = row.ratio(yardstick.metric)
    text, interval = f"{word} {show(ratio, suffix=TIMES)}", ratio.bounds
    if interval is None:
        return text
    percent = 100 * max(abs(bound - 1) for bound in interval)
    floor = f"less than {fixed(percent, 1 if percent < 10 else 0)} % is noise here"
    verdict = row.verdicts.get(yardstick.metric.ratio)
    if verdict and not verdict.barred:
        biased = verdict.verdict in LOUD
        text += f", verdict {loud(verdict.verdict)}"
        return (
            f"{text}: something here favours one side, and {floor}"
            if biased
            else f"{text}, so {floor}"
        )
    if interval[0] <= 1 <= interval[1]:
        return f"{text}, so {floor}"
    return f"{text}, which excludes 1: something here favours one side, and {floor}"


def were_counted(rows: Sequence[Row]) -> bool:
    """Whether any window has joules."""
    return any(window.energy for row in rows for window in row.record.windows)


def no_joules(rows: Sequence[Row]) -> str:
    """Why there is no energy: no meter, or one whose windows give none."""
    if not were_counted(rows):
        return "No joules could be had here"
    return "Joules were counted, but not all blocks give those of a token (the table says why)"


def model_bounds(rows: Sequence[Row]) -> str:
    """How far off an estimate may be as a whole, which no repetition shows; empty of no estimate."""
    shares = [
        bound.value / row.energy.value
        for row in rows
        for name in (ENERGY_PER_TOKEN_LOW.name, ENERGY_PER_TOKEN_HIGH.name)
        if (bound := row.metrics.get(name)) and bound.value is not None and row.energy.value
    ]
    return f"{number(min(shares))} to {number(max(shares))}" if shares else ""


def _preface(group: Group) -> list[str]:
    setting = group.setting
    lines = []
    if not may_claim(group, yardstick_of(group)):
        lines.append(
            f"Hints, no claims: tier {prose(setting.tier)} measures too briefly to rest any on."
        )
    if setting.source == "unavailable":
        lines.append(f"{no_joules(group.rows)}, so the answer is about measured **speed**.")
    elif not setting.measured:
        lines.append(
            "Joules here are **estimated** (≈), not measured: they track CPU time, so they cannot "
            "show a saving that latency does not show, and the answer is about measured **speed**."
        )
    return [" ".join(lines)] if lines else []


def _findings(rows: Sequence[Row], yardstick: Yardstick, *, claims: bool) -> list[str]:
    """One sentence per margin; the second only refers to the first where it would repeat it."""
    lines: list[str] = []
    named: list[Row] = []
    last: tuple[Row | None, str] | None = None
    before = 0.0  # the margin of the sentence before
    for margin in MARGINS:
        kept = [row for row in rows if row.change.value is not None and row.change.value >= -margin]
        winner = best_of([row for row in kept if stands_out(row, yardstick)], yardstick)
        nothing = "" if winner else _nothing(kept, yardstick, claims=claims)
        where = f"Within {_points(margin)} of the baseline's quality"
        if (winner, nothing) == last:
            excluded = (
                winner and surely_within(winner, margin) and not surely_within(winner, before)
            )
            sure = f"; a loss beyond {_points(margin)} is excluded" if excluded else ""
            lines.append(f"{where}: the same{sure}.")
        elif winner:
            praise = _praise(winner, kept, margin, yardstick, claims=claims)
            lines.append(f"{where}, {praise}")
        else:
            lines.append(f"{where}, {nothing}")
        last, before = (winner, nothing), margin
        named += [winner] if winner else []
    rest = _rest(rows, named, yardstick) if claims and named else ""
    return [*lines[:-1], f"{lines[-1]}{rest}"]


def _rest(rows: Sequence[Row], named: Sequence[Row], yardstick: Yardstick) -> str:
    """That nothing else helps, where that is so; the verdicts' tally names what else does."""
    others = [row for row in rows if row not in named]
    if not others or any(stands_out(row, yardstick) for row in others):
        return ""
    found = [
        row.verdicts[yardstick.metric.ratio]
        for row in others
        if yardstick.metric.ratio in row.verdicts
    ]
    if any(verdict.barred or verdict.verdict == "inconclusive" for verdict in found):
        return " Nothing else is shown to help."
    return " Nothing else helps."


def _points(margin: float) -> str:
    return f"{margin:g} point{'' if margin == 1 else 's'}"


def _praise(
    row: Row, kept: Sequence[Row], margin: float, yardstick: Yardstick, *, claims: bool
) -> str:
    ratio = row.ratio(yardstick.metric)
    words = [
        f"{run_name(row)} {yardstick.claim if claims else yardstick.seen}: "
        f"**{show(ratio, suffix=TIMES)}** {yardstick.of}",
        f"quality {_quality(row, margin)}",
    ]
    if yardstick is SPEED and row.energy.value is not None:
        words.append(f"energy, only an estimate, {show(row.ratio(ENERGY.metric), suffix=TIMES)}")
    rivals = [other for other in kept if other is not row and overlap(row, other, yardstick)]
    if rivals:
        names = ", ".join(run_name(other) for other in rivals)
        words.append(f"not told apart from {names}: their intervals overlap")
    if not surely_within(row, margin):
        words.append(_sure(kept, margin, yardstick))
    return "; ".join(words) + "."


def _sure(kept: Sequence[Row], margin: float, yardstick: Yardstick) -> str:
    """The best of those whose interval excludes a loss beyond the margin, if there is one."""
    sure = [row for row in kept if surely_within(row, margin) and stands_out(row, yardstick)]
    best = best_of(sure, yardstick)
    if best is None:
        return f"no run that helps is sure to be within {_points(margin)}: more items would tell"
    ratio = show(best.ratio(yardstick.metric), suffix=TIMES)
    return f"surely within {_points(margin)}: {run_name(best)}, {ratio}"


def _quality(row: Row, margin: float) -> str:
    text = show(row.change, suffix=" points", change=True, decimals=1)
    interval = row.change.bounds
    if interval and interval[0] < -margin:
        text += f", so a loss beyond {_points(margin)} is not excluded"
    bits = row.bits_per_byte
    if bits and bits.change.value is not None and bits.baseline.value:
        text += (
            f"; bits per byte {signed(fixed(100 * bits.change.value / bits.baseline.value, 1))} %"
        )
    return text


def _nothing(kept: Sequence[Row], yardstick: Yardstick, *, claims: bool) -> str:
    nearest = best_of(kept, yardstick)
    if nearest is None:
        return "there is none to name: no technique kept that quality, or none has both numbers."
    ratio = show(nearest.ratio(yardstick.metric), suffix=TIMES)
    said = _outcome(kept, yardstick, claims=claims)
    return f"{said}: the nearest, {run_name(nearest)}, is at {ratio} {yardstick.of}."


def _outcome(kept: Sequence[Row], yardstick: Yardstick, *, claims: bool) -> str:
    """What it means that none saves: uncertainty is not evidence of no effect."""
    found = [
        row.verdicts[yardstick.metric.ratio]
        for row in kept
        if yardstick.metric.ratio in row.verdicts
    ]
    if found and all(verdict.barred for verdict in found):
        return "no claim is made"
    if not claims:
        return "nothing stands clear of the baseline"
    unsure = any(verdict.verdict == "inconclusive" for verdict in found)
    return "nothing is shown to help" if unsure else "nothing helps"
