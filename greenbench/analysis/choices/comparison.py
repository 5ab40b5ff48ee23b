"""Two runs, or two results directories: what changed from one to the other, and how sure that is."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from greenbench.analysis.accuracy import about
from greenbench.analysis.blocks import block_ratios
from greenbench.analysis.groups.comparable import Setting, setting
from greenbench.analysis.groups.rows import is_invalid, technique
from greenbench.analysis.training.between import between, is_measured
from greenbench.analysis.training.table import setting_of
from greenbench.errors import UserError
from greenbench.records.store import told_apart
from greenbench.schema.metrics import ENERGY_PER_TOKEN, MODEL_BYTES, TPOT
from greenbench.schema.record import Record
from greenbench.schema.solved import SolvedTask
from greenbench.schema.verdict import Word
from greenbench.stats import items
from greenbench.stats.intervals import MARGIN, Interval, quotient, unpaired_ratio
from greenbench.wording import TIMES, fixed, signed

POINT = 0.01
NOTHING = "not in both"


METRICS = {"energy": ENERGY_PER_TOKEN, "time": TPOT}
"""What is compared block by block; less is better in each."""


class Bar(NamedTuple):
    """Why there may be no verdict, and what to do about it."""

    why: str
    remedy: str


INVALID = Bar("a run is invalid", "run it again")
UNMEASURED = Bar("joules are not measured", "limit time, or run where a meter counts joules")
SMOKE = Bar("tier smoke makes no claims", "run both with protocol=dev or protocol=publish")
APART = Bar("the two runs differ in their setting", "compare two runs of one setting")
FEW = Bar("too few items were graded", "run both with more of them (task.items)")
UNREACHED = Bar(
    "a run did not come to its baseline's last loss with every seed",
    "give it more tokens (training.longer)",
)
NO_TARGET = Bar("a run has no joules to a target", "run both again")
UNBOUNDED = Bar("a run's joules per solved problem are unbounded or lack an interval", FEW.remedy)


class Change(NamedTuple):
    """One metric from A to B: a ratio below 1 is a saving; quality is a difference in points."""

    metric: str
    found: Interval | None
    verdict: Word
    why: str
    bar: Bar | None = None
    """Set where no verdict may be made."""
    least: float | None = None
    """What the ratio is at least, with 95 %, where no more is known of it."""


class Pairing(NamedTuple):
    """The same technique in A and in B."""

    name: str
    changes: list[Change]
    differs: list[str]
    """In what the settings differ, each as ``device: A's, not B's``: there is no verdict then."""


def pairings(first: Sequence[Record], second: Sequence[Record]) -> list[Pairing]:
    """Runs that A and B share. One run on each side is a pair whatever its technique is.

    Raises UserError where there is nothing to compare.
    """
    sides = [[r for r in side if r.status == "completed"] for side in (first, second)]
    if len(sides[0]) == len(sides[1]) == 1:
        (a,), (b,) = sides
        return [_pairing(" -> ".join(dict.fromkeys([technique(a), technique(b)])), a, b)]
    known: defaultdict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in sides[0]:
        known[_place(record)].append(record)
    shared = [(_nearest(known[_place(b)], b), b) for b in sides[1] if _place(b) in known]
    uses, names = Counter(_place(b) for b in sides[1]), told_apart(sides[1])
    if not shared:
        raise UserError(
            "A and B share no completed run of one technique, model, workload and tasks: compare "
            "two records, or two results directories of the same sweep."
        )
    return [
        _pairing(technique(b) if uses[_place(b)] == 1 else f"{technique(b)}, {names[id(b)]}", a, b)
        for a, b in shared
    ]


def _setting(record: Record) -> Setting:
    return setting(record) if record.training is None else setting_of(record)


def _place(record: Record) -> tuple[str, ...]:
    here = _setting(record)
    return technique(record), here.model, here.asked, here.tasks, here.tier


def _nearest(some: Sequence[Record], record: Record) -> Record:
    """Of runs of one technique, that whose setting differs least."""
    return min(some, key=lambda other: len(_differences(other, record)))


def _differences(a: Record, b: Record) -> list[str]:
    """Design rule 5: only what shares all of these may be compared."""
    sides = _setting(a)._asdict(), _setting(b)._asdict()
    return [
        f"{name}: {sides[0][name] or 'none'}, not {sides[1][name] or 'none'}"
        for name in sides[0]
        if sides[0][name] != sides[1][name]
    ]


def _pairing(name: str, a: Record, b: Record) -> Pairing:
    differs = _differences(a, b)
    return Pairing(name, list(_changes(a, b, APART if differs else _barred(a, b))), differs)


def _trained(a: Record, b: Record, bar: Bar | None) -> Iterator[Change]:
    """Of models that were trained: nothing where the other run served."""
    if a.training is None or b.training is None:
        return
    found = between(a, b)
    if found.reached:
        known = NO_TARGET if found.ratio is None else None if is_measured(a, b) else UNMEASURED
        yield _judged("target", found.ratio, bar or known)
    elif bar:
        yield _judged("target", None, bar)
    else:
        least = found.least if is_measured(a, b) else None
        yield Change("target", None, "not reached", found.why, UNREACHED, least)


def _changes(a: Record, b: Record, bar: Bar | None) -> Iterator[Change]:
    if a.training or b.training:
        yield from _trained(a, b, bar)
        return
    for name, metric in METRICS.items():
        sides = [block_ratios(record.windows, metric.ratio) for record in (a, b)]
        found = unpaired_ratio(*sides) if all(sides) else None
        unmeasured = name == "energy" and not _measured(a, b)
        yield _judged(name, found, bar or (UNMEASURED if unmeasured else None))
    if a.solved and b.solved:
        unsolved = bar or _unsolved(a, b)
        lost = _none_left(a, b) if unsolved is UNBOUNDED else None
        yield lost or _judged("solved", _solved(a, b), unsolved)
    sizes = [record.ratios[MODEL_BYTES.ratio].value for record in (a, b)]
    if sizes[0] and sizes[1]:
        ratio = sizes[1] / sizes[0]
        counted = Interval(ratio, ratio, ratio, 1)  # of a tier that makes no claims too
        yield _judged("bytes", counted, None if bar is SMOKE else bar)
    quality = _quality(a, b)
    yield quality._replace(verdict="inconclusive", why=bar.why, bar=bar) if bar else quality


def _solved(a: Record, b: Record) -> Interval | None:
    """B's ratio of joules per solved problem over A's, each to its own baseline."""
    before, after = (_whole(record).ratio.energy_per_solved for record in (a, b))
    if not before.value or not after.value or not before.bounds or not after.bounds:
        return None
    return quotient(
        Interval(before.value, *before.bounds, before.n),
        Interval(after.value, *after.bounds, after.n),
    )


def _none_left(a: Record, b: Record) -> Change | None:
    """Where B's candidate solved none and A's surely solved more: beyond any limit, though no number."""
    before, after = (_whole(record).candidate.share_solved for record in (a, b))
    lost = after.value == 0 and after.high is not None and after.high < (before.low or 0)
    known = _whole(a).ratio.energy_per_solved.bounds
    why = f"unbounded: B solved none, A a share of {fixed(before.value or 0, 2)}"
    return Change("solved", None, "costs", why) if lost and known else None


def _whole(record: Record) -> SolvedTask:
    """Of all graded answers: the last, as several tasks are followed by all of them together."""
    return record.solved[-1]


def _unsolved(*records: Record) -> Bar | None:
    """Why their joules per solved problem have no verdict."""
    wholes = [_whole(record) for record in records]
    found = [whole.ratio.energy_per_solved for whole in wholes]
    if not all(each.is_measured for each in found):
        return UNMEASURED
    if any(whole.claims for whole in wholes):
        return FEW
    return None if all(each.bounds for each in found) else UNBOUNDED


def _measured(*records: Record) -> bool:
    return all(record.ratios[ENERGY_PER_TOKEN.ratio].is_measured for record in records)


def _barred(*records: Record) -> Bar | None:
    if any(map(is_invalid, records)):
        return INVALID
    return None if all(setting(record).claims for record in records) else SMOKE


def _judged(metric: str, found: Interval | None, bar: Bar | None) -> Change:
    if bar:
        return Change(metric, found, "inconclusive", bar.why, bar)
    if found is None or found.low is None or found.high is None:
        return Change(metric, found, "inconclusive", NOTHING if found is None else "one block")
    apart = found.high < 1 or found.low > 1
    if apart and abs(found.value - 1) > MARGIN:
        word: Word = "saves" if found.value < 1 else "costs"
        return Change(metric, found, word, "the interval is clear of 1")
    if found.low >= 1 / (1 + MARGIN) and found.high <= 1 + MARGIN:
        return Change(metric, found, "equivalent", f"within {100 * MARGIN:g} %")
    return Change(metric, found, "inconclusive", "too uncertain")


def _quality(a: Record, b: Record) -> Change:
    """B's candidate against A's on the items that both answered, in points of accuracy."""
    answers = [
        {
            (score.task, score.split, item.index): (item.candidate, about(score, item))
            for score in record.quality
            if score.is_accuracy
            for item in score.items
        }
        for record in (a, b)
    ]
    shared = sorted(answers[0].keys() & answers[1].keys())
    if not shared:
        return Change("quality", None, "inconclusive", "no item was answered by both")
    before, after = ([side[key][0] for key in shared] for side in answers)
    ones, documents = [1.0] * len(shared), [answers[0][key][1] for key in shared]
    found = items.change(before, after, ones, documents)
    low, high = (None if x is None else 100 * x for x in (found.low, found.high))
    points = Interval(100 * found.value, low, high, found.n, found.reason)
    p_value = items.p_difference(before, after, ones, documents)
    alike = items.p_equivalence(before, after, ones, POINT, documents)
    if p_value is not None and p_value < 0.05:
        return Change(
            "quality", points, "saves" if found.value > 0 else "costs", f"p = {p_value:.2g}"
        )
    if alike is not None and alike < 0.05:
        return Change("quality", points, "equivalent", "within 1 point")
    return Change("quality", points, "inconclusive", "too few items to tell")


def shown(change: Change) -> str:
    """What changed, with its interval."""
    known = change.found
    if known is None:
        return "n/a" if change.least is None else f"at least {fixed(change.least, 3)}{TIMES}"
    points = change.metric == "quality"
    places, suffix = (1, " points") if points else (3, TIMES)
    sign: Callable[[str], str] = signed if points else str
    value = f"{sign(fixed(known.value, places))}{suffix}"
    if known.low is None or known.high is None:
        return value
    return f"{value} ({sign(fixed(known.low, places))} to {sign(fixed(known.high, places))})"


def as_json(found: Sequence[Pairing], broken: Sequence[str], unjudged: Sequence[str]) -> str:
    """The same for machines."""
    runs = [
        {
            "name": pairing.name,
            "differs": pairing.differs,
            "changes": [
                {
                    "metric": change.metric,
                    "change": change.found._asdict() if change.found else None,
                    "at_least": change.least,
                    "verdict": change.verdict,
                    "why": change.why,
                }
                for change in pairing.changes
            ],
        }
        for pairing in found
    ]
    document = {"runs": runs, "broken": list(broken), "unjudged": list(unjudged)}
    return json.dumps(document, indent=1)
