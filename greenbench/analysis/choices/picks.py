"""What to choose of a group's runs: for each loss of quality that a reader may accept, the best run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from greenbench.analysis.groups.rows import Group, Row
from greenbench.analysis.yardstick import Yardstick, harms, helps, yardstick_of

LOSSES: Final = (0.0, 1.0, 3.0, None)
"""Points of quality: none, as the tokens are the same; so many at most; whatever it is."""


class Pick(NamedTuple):
    """The best run for who accepts to lose so much."""

    losses: tuple[float | None, ...]
    """Of `LOSSES`, those that it is the best for."""
    row: Row
    within: bool
    """Whether a greater loss is excluded."""
    rivals: tuple[Row, ...]
    """That lose no more, and are not told apart from it."""


class Choice(NamedTuple):
    """A group's runs, sorted by what a reader would do with them."""

    yardstick: Yardstick
    picks: list[Pick]
    worse: list[Row]
    """They cost more than the baseline."""
    same: list[Row]
    """Neither shown to help nor to be worse: the noise."""


def choice(group: Group) -> Choice:
    """The picks, least loss first; a run that is the best for two losses stands once."""
    yardstick = yardstick_of(group)
    rows = [row for row in group.rows if not row.is_baseline]
    helping = [row for row in rows if stands_out(row, yardstick) or _hints(row, yardstick)]
    picks: list[Pick] = []
    for loss in LOSSES:
        kept = [row for row in helping if _keeps(row, loss)]
        firm = [row for row in kept if not _hints(row, yardstick)]
        best = best_of(firm or kept, yardstick)
        if best is None:
            continue
        if picks and picks[-1].row is best:
            picks[-1] = picks[-1]._replace(losses=(*picks[-1].losses, loss))
            continue
        rivals = (row for row in kept if row is not best and overlap(best, row, yardstick))
        picks.append(Pick((loss,), best, surely_within(best, loss), tuple(rivals)))
    worse = [row for row in rows if _is_worse(row, yardstick)]
    told = {id(row) for row in (*helping, *worse)}
    return Choice(yardstick, picks, worse, [row for row in rows if id(row) not in told])


def is_claimed(row: Row, yardstick: Yardstick) -> bool:
    """Whether a verdict may rest on the ratio; where it may not, a saving is a hint."""
    verdict = row.verdicts.get(yardstick.metric.ratio)
    return verdict is not None and not verdict.barred


def is_shown(row: Row, yardstick: Yardstick) -> bool:
    """Whether its verdict says that it saves."""
    return is_claimed(row, yardstick) and row.verdicts[yardstick.metric.ratio].verdict == "saves"


def may_claim(group: Group, yardstick: Yardstick) -> bool:
    """Whether any run's may be."""
    judged = [row for row in group.rows if yardstick.metric.ratio in row.verdicts]
    if not judged:  # of early records
        return group.setting.claims
    return any(is_claimed(row, yardstick) for row in judged)


def stands_out(row: Row, yardstick: Yardstick) -> bool:
    """Whether it saves: by its verdict, or by its whole interval where there is none or it is barred."""
    verdict = row.verdicts.get(yardstick.metric.ratio)
    if verdict is None or verdict.barred:
        return helps(row.ratio(yardstick.metric), yardstick)
    return verdict.verdict == "saves"


def _hints(row: Row, yardstick: Yardstick) -> bool:
    """Whether its own interval is clear of 1, and no longer once all runs of the table are counted (Holm)."""
    verdict = row.verdicts.get(yardstick.metric.ratio)
    if verdict is None or verdict.barred or verdict.verdict != "inconclusive":
        return False
    return helps(row.ratio(yardstick.metric), yardstick)


def _is_worse(row: Row, yardstick: Yardstick) -> bool:
    verdict = row.verdicts.get(yardstick.metric.ratio)
    if verdict is None or verdict.barred:
        return harms(row.ratio(yardstick.metric), yardstick)
    return verdict.verdict == "costs"


def surely_within(row: Row, loss: float | None) -> bool:
    """Non-inferiority: the whole interval of the change lies above the loss, or no token changed."""
    if loss is None or row.is_lossless:
        return True
    interval = row.change.bounds
    return interval is not None and interval[0] >= -loss


def best_of(rows: Sequence[Row], yardstick: Yardstick) -> Row | None:
    """The row with the best ratio, by label where equal."""
    known = [
        (-yardstick.sign * value, row.label, row)
        for row in rows
        if (value := row.ratio(yardstick.metric).value) is not None
    ]
    return min(known, key=lambda entry: entry[:2])[2] if known else None


def overlap(one: Row, other: Row, yardstick: Yardstick) -> bool:
    """Whether their intervals do."""
    mine, theirs = (row.ratio(yardstick.metric).bounds for row in (one, other))
    return bool(mine and theirs and mine[0] <= theirs[1] and theirs[0] <= mine[1])


def _keeps(row: Row, loss: float | None) -> bool:
    if loss is None:
        return True
    if loss == 0:
        return row.is_lossless
    change = row.change.value
    return row.is_lossless or (change is not None and change >= -loss)
