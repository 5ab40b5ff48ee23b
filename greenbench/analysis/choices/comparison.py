"""Two runs, or two results directories: what changed from one to the other, and how sure that is."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from greenbench.analysis.accuracy import about
from greenbench.analysis.blocks import block_ratios
from greenbench.analysis.choices.change import (
    APART,
    FEW,
    INVALID,
    NO_TARGET,
    SMOKE,
    UNBOUNDED,
    UNMEASURED,
    UNREACHED,
    Bar,
    Change,
    Pairing,
    judged,
)
from greenbench.analysis.groups.comparable import Setting, setting
from greenbench.analysis.groups.rows import is_invalid, technique
from greenbench.analysis.groups.sessions import Measured, by_run, run_of
from greenbench.analysis.training.between import between as between_trainings
from greenbench.analysis.training.between import is_measured
from greenbench.analysis.training.table import setting_of
from greenbench.errors import UserError
from greenbench.records.store import told_apart
from greenbench.schema.metrics import ENERGY_PER_TOKEN, MODEL_BYTES, TPOT
from greenbench.schema.record import Record
from greenbench.schema.solved import SolvedTask
from greenbench.stats import items
from greenbench.stats.intervals import Interval, geometric_mean, quotient, unpaired_ratio
from greenbench.stats.sessions import allowing, between
from greenbench.wording import fixed

POINT = 0.01
METRICS = {"energy": ENERGY_PER_TOKEN, "time": TPOT}
"""What is compared block by block, or session by session; less is better in each."""


def pairings(first: Sequence[Record], second: Sequence[Record]) -> list[Pairing]:
    """Runs that A and B share, each with all its sessions. One run on each side is a pair whatever its
    technique is.

    Raises UserError where there is nothing to compare.
    """
    sides = [_runs([r for r in side if r.status == "completed"]) for side in (first, second)]
    if len(sides[0]) == len(sides[1]) == 1:
        (a,), (b,) = sides
        labels = dict.fromkeys([technique(a.record), technique(b.record)])
        return [_pairing(" -> ".join(labels), a, b)]
    known: defaultdict[tuple[str, ...], list[Measured]] = defaultdict(list)
    for run in sides[0]:
        known[_place(run.record)].append(run)
    shared = [
        (_nearest(known[place], b), b) for b in sides[1] if (place := _place(b.record)) in known
    ]
    uses, names = Counter(_place(b.record) for b in sides[1]), told_apart(second)
    if not shared:
        raise UserError(
            "A and B share no completed run of one technique, model, workload and tasks: compare "
            "two records, or two results directories of the same sweep."
        )
    return [
        _pairing(
            label if uses[_place(b.record)] == 1 else f"{label}, {names[id(b.sessions[0])]}", a, b
        )
        for a, b in shared
        for label in [technique(b.record)]
    ]


def _runs(records: Sequence[Record]) -> list[Measured]:
    """Those that served in all their sessions but the invalid ones, if others are left; each training."""
    served = [record for record in records if record.training is None]
    sound = by_run(record for record in served if not is_invalid(record))
    kept = {id(record) for run in sound for record in run.sessions}
    rest = [record for record in records if id(record) not in kept]
    return [*sound, *(
        Measured(record, (record,), {})
        for record in rest
        if record.training or not any(_is_session(record, run.record) for run in sound)
    )]  # fmt: skip


def _is_session(record: Record, other: Record) -> bool:
    return run_of(record) == run_of(other)


def _setting(record: Record) -> Setting:
    return setting(record) if record.training is None else setting_of(record)


def _place(record: Record) -> tuple[str, ...]:
    here = _setting(record)
    return technique(record), here.model, here.asked, here.tasks, here.tier


def _nearest(some: Sequence[Measured], run: Measured) -> Measured:
    """Of runs of one technique, that whose setting and knobs differ least."""
    knobs = run.record.spec.technique
    return min(
        some,
        key=lambda other: (
            len(_differences(other.record, run.record)),
            other.record.spec.technique != knobs,
        ),
    )


def _differences(a: Record, b: Record) -> list[str]:
    """Design rule 5: only what shares all of these may be compared."""
    sides = _setting(a)._asdict(), _setting(b)._asdict()
    return [
        f"{name}: {sides[0][name] or 'none'}, not {sides[1][name] or 'none'}"
        for name in sides[0]
        if sides[0][name] != sides[1][name]
    ]


def _pairing(name: str, a: Measured, b: Measured) -> Pairing:
    differs = _differences(a.record, b.record)
    bar = APART if differs else _barred(a.record, b.record)
    return Pairing(name, list(_changes(a, b, bar)), differs)


def _trained(a: Record, b: Record, bar: Bar | None) -> Iterator[Change]:
    """Of models that were trained: nothing where the other run served."""
    if a.training is None or b.training is None:
        return
    found = between_trainings(a, b)
    if found.reached:
        known = NO_TARGET if found.ratio is None else None if is_measured(a, b) else UNMEASURED
        allowed = found.ratio and allowing(found.ratio)
        yield judged("target", found.ratio, bar or known, allowed)
    elif bar:
        yield judged("target", None, bar)
    else:
        least = found.least if is_measured(a, b) else None
        yield Change("target", None, "not reached", found.why, UNREACHED, least)


def _changes(one: Measured, other: Measured, bar: Bar | None) -> Iterator[Change]:
    a, b = one.record, other.record
    if a.training or b.training:
        yield from _trained(a, b, bar)
        return
    sessions = one.sessions, other.sessions
    for name, metric in METRICS.items():
        sides = [
            [block_ratios(record.windows, metric.ratio) for record in side] for side in sessions
        ]
        unmeasured = name == "energy" and not _measured(*one.sessions, *other.sessions)
        yield _of_blocks(name, sides, bar or (UNMEASURED if unmeasured else None))
    if all(record.solved for side in sessions for record in side):
        unsolved = bar or _unsolved(*one.sessions, *other.sessions)
        lost = _none_left(a, b) if unsolved is UNBOUNDED else None
        yield lost or _solved(sessions, unsolved)
    sizes = [record.ratios[MODEL_BYTES.ratio].value for record in (a, b)]
    if sizes[0] and sizes[1]:
        ratio = sizes[1] / sizes[0]
        counted = Interval(ratio, ratio, ratio, 1)  # of a tier that makes no claims too
        yield judged("bytes", counted, None if bar is SMOKE else bar)
    quality = _quality(a, b)
    yield quality._replace(verdict="inconclusive", why=bar.why, bar=bar) if bar else quality


def _of_blocks(name: str, sides: Sequence[Sequence[list[float]]], bar: Bar | None) -> Change:
    """B's ratio over A's, of the blocks of each session: by sessions, where there are more than two."""
    if not all(blocks for side in sides for blocks in side):
        return judged(name, None, bar)
    if sum(map(len, sides)) > 2:
        means = ([geometric_mean(blocks).value for blocks in side] for side in sides)
        return judged(name, between(*means), bar)
    ((before,), (after,)) = sides
    found = unpaired_ratio(before, after)
    return judged(name, found, bar, allowing(found))


def _solved(sessions: Sequence[Sequence[Record]], bar: Bar | None) -> Change:
    """B's ratio of joules per solved problem over A's, each to its own baseline."""
    found = [[_whole(record).ratio.energy_per_solved for record in side] for side in sessions]
    known = [
        [Interval(each.value, *each.bounds, each.n) for each in side if each.value and each.bounds]
        for side in found
    ]
    if list(map(len, known)) != list(map(len, found)):
        return judged("solved", None, bar)
    if sum(map(len, known)) > 2:
        return judged("solved", between(*([each.value for each in side] for side in known)), bar)
    ((before,), (after,)) = known
    ratio = quotient(before, after)
    return judged("solved", ratio, bar, allowing(ratio))


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
                    "with_sessions_allowed_for": change.allowed and change.allowed._asdict(),
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
