"""Runs of one spec that were measured in several sessions, as one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from greenbench.analysis.groups.comparable import setting
from greenbench.models.inputs import key
from greenbench.schema.quantity import Quantity
from greenbench.schema.record import Record, Subject
from greenbench.schema.verdict import Verdict
from greenbench.stats.intervals import Interval
from greenbench.stats.sessions import Pooled, pooled


class Measured(NamedTuple):
    """A run, in however many sessions."""

    record: Record
    """The first session's, with the ratios and verdicts of all."""
    sessions: tuple[Record, ...]
    """Each as it was left, earliest first."""
    found: Mapping[str, Pooled]
    """By ratio, what all sessions say of it; empty of one session."""


CHOSEN = ("threads", "power_limit_mw")
"""What somebody sets on a machine: with another it is another run. Versions come and go."""


def by_run(records: Iterable[Record]) -> list[Measured]:
    """`records`, the sessions of a run together, each run where its first record stood.

    Sessions are runs of the same techniques with all their knobs in one setting, whatever their seeds, their
    libraries' versions and their number of blocks: none of two that contradict each other is the truth.
    """
    runs: dict[str, list[Record]] = {}
    for record in records:
        runs.setdefault(run_of(record), []).append(record)
    return [each for some in runs.values() for each in _measured(some)]


def run_of(record: Record) -> str:
    """What a reader of its table knows it by."""
    spec = record.spec
    machine = spec.inputs.machine if spec.inputs else {}
    chosen = {name: value for name, value in machine.items() if name.endswith(CHOSEN)}
    stack = [part.model_dump(mode="json") for part in spec.technique]
    return key([setting(record), stack, spec.load.model_dump(mode="json"), chosen])


def _measured(records: Sequence[Record]) -> list[Measured]:
    moments = {(record.key, record.spec.session, record.started_at) for record in records}
    if len(records) == 1 or len(moments) < len(records):  # of one there is one: others were changed
        return [Measured(record, (record,), {}) for record in records]
    return [_as_one(sorted(records, key=lambda record: (record.spec.session, record.started_at)))]


def _as_one(sessions: Sequence[Record]) -> Measured:
    first = sessions[0]
    ratios = {name: [record.ratios.get(name) for record in sessions] for name in first.ratios}
    pools = {name: found for name, each in ratios.items() if (found := _pooled(each))}
    update = {
        "baseline": _levels([record.baseline for record in sessions]),
        "candidate": _levels([record.candidate for record in sessions]),
        "ratios": first.ratios
        | {name: _quantity(first.ratios[name], found) for name, found in pools.items()},
        "verdicts": {
            name: _verdict(name, sessions)
            if name in pools or _is_exact(ratios.get(name, []))
            else first.verdicts[name]
            for name in first.verdicts
        },
        "validity": max((record.validity for record in sessions), key=WORSE.index),
        "codes": sorted({code for record in sessions for code in record.codes}),
    }
    return Measured(first.model_copy(update=update), tuple(sessions), pools)


def _levels(models: Sequence[Subject | None]) -> Subject | None:
    """The first session's model, with the mean session's numbers."""
    known = [model for model in models if model]
    if not known or len(known) < len(models):
        return models[0]
    first = known[0]
    each = {name: [model.metrics.get(name) for model in known] for name in first.metrics}
    pools = {name: found for name, some in each.items() if (found := _pooled(some))}
    told = {name: _quantity(first.metrics[name], found) for name, found in pools.items()}
    return first.model_copy(update={"metrics": {**first.metrics, **told}})


WORSE = ("valid", "flagged", "invalid")


def _is_exact(ratios: Sequence[Quantity | None]) -> bool:
    """Whether all have the same, as of bytes."""
    return len({each and each.value for each in ratios}) == 1


def _pooled(ratios: Sequence[Quantity | None]) -> Pooled | None:
    """Null where a session has no value above 0, or where all have the same, as of bytes."""
    known = [each for each in ratios if each and each.value is not None and each.value > 0]
    if len(known) < len(ratios) or len({each.provenance for each in known}) > 1:
        return None
    if len({each.value for each in known}) == 1:
        return None
    return pooled([Interval(each.value or 0.0, each.low, each.high, each.n) for each in known])


def _quantity(first: Quantity, found: Pooled) -> Quantity:
    ratio = found.ratio
    return first.model_copy(
        update={
            "value": ratio.value,
            "low": ratio.low,
            "high": ratio.high,
            "n": ratio.n,
            "reason": None,
        }
    )


def _verdict(name: str, sessions: Sequence[Record]) -> Verdict:
    """Of what all sessions say; one that is barred in any is barred."""
    each = [record.verdicts[name] for record in sessions if name in record.verdicts]
    barred = next((verdict for verdict in each if verdict.barred or verdict.ratio is None), None)
    exact = len({verdict.ratio for verdict in each}) == 1
    if barred or exact or len(each) < len(sessions):
        return barred or each[0]
    found = pooled([Interval(v.ratio or 0.0, v.low, v.high, v.n) for v in each])
    return each[0].model_copy(
        update={
            "ratio": found.ratio.value,
            "low": found.ratio.low,
            "high": found.ratio.high,
            "n": found.ratio.n,
            "method": "sessions",
            "p_difference": found.p_difference,
            "p_adjusted": found.p_difference,
            "p_equivalence": found.p_equivalence,
        }
    )
