"""What a technique would show on devices that have no record of it, by the records of other devices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log, log2, log10
from typing import Final, NamedTuple

from greenbench.analysis.groups.by_technique import Everywhere
from greenbench.analysis.groups.comparable import CLOSED, told_apart
from greenbench.analysis.groups.rows import Group, Row
from greenbench.analysis.roofline import roofline_share
from greenbench.schema.metrics import ENERGY_PER_TOKEN, MODEL_BYTES, TOKENS_PER_S, Metric
from greenbench.stats.intervals import Interval, log_error
from greenbench.stats.transfer import LEAST_DEVICES, Coverage, Seen, left_out, predicted
from greenbench.wording import percent

METRICS: Final = (ENERGY_PER_TOKEN, TOKENS_PER_S)
LEAST_COVERAGE: Final = 0.9
"""Below it nothing is predicted."""
FEW: Final = f"records of {LEAST_DEVICES + 1} devices are needed, one of them to be left out"


class Elsewhere(NamedTuple):
    """A setting in which the technique was not measured, on a device that has no record of it."""

    where: str
    ratios: dict[Metric, Interval]


class Transfer(NamedTuple):
    """What is predicted of a technique, and how well what is known is predicted by the rest."""

    places: list[Elsewhere]
    coverage: dict[Metric, Coverage]
    withheld: dict[Metric, str]
    """Why nothing is predicted of a metric."""


def transfer(found: Everywhere, groups: Sequence[Group]) -> Transfer | None:
    """Null where every device has a record of it, or none of the others could be compared."""
    devices = {place.group.setting.device for place in found.places}
    engine = _engine_of(found)
    targets = [
        group
        for group in groups
        if group.setting.device not in devices
        and _features(group.rows[0]) is not None
        and _engine(group) == engine
    ]
    if not targets:
        return None
    coverage: dict[Metric, Coverage] = {}
    withheld: dict[Metric, str] = {}
    usable: dict[Metric, list[Seen]] = {}
    for metric in METRICS:
        seen = _seen(found, engine, metric)
        there = len({each.device for each in seen})
        if there <= LEAST_DEVICES:
            withheld[metric] = f"{FEW}; here are {there}"
            continue
        coverage[metric] = left_out(seen)
        if coverage[metric].share < LEAST_COVERAGE:
            withheld[metric] = (
                f"the other devices must predict {percent(LEAST_COVERAGE)} of what is known"
            )
        else:
            usable[metric] = seen
    _, names = told_apart([group.setting for group in targets])
    places = [
        Elsewhere(
            name,
            {
                metric: predicted(seen, _features(group.rows[0]) or ())
                for metric, seen in usable.items()
            },
        )
        for group, name in zip(targets, names, strict=True)
    ]
    return Transfer(places if usable else [], coverage, withheld)


def _engine(group: Group) -> str:
    return group.setting.engine.partition("(")[0]


def _engine_of(found: Everywhere) -> str:
    """The one that it was measured with most often: what another would do with it, none of them tells."""
    counts = Counter(_engine(place.group) for place in found.places)
    return min(counts, key=lambda name: (-counts[name], name))


def _seen(found: Everywhere, engine: str, metric: Metric) -> list[Seen]:
    """Measured ratios with an interval, of one engine's settings whose features are known."""
    seen = []
    for place in found.places:
        if _engine(place.group) != engine:
            continue
        ratio, features = place.row.ratio(metric), _features(place.row)
        if features is None or not ratio.is_measured or not ratio.bounds or not ratio.value:
            continue
        low, high = ratio.bounds
        if low > 0:
            error = log_error(low, high, max(2, ratio.n))
            seen.append(Seen(place.group.setting.device, features, log(ratio.value), error))
    return seen


def _features(row: Row) -> tuple[float, ...] | None:
    """Of its setting, as the baseline shows it: logarithms of the requests at once, of the model's bytes, and
    of the share of the device's roofline that decoding comes to, which is small where launches bind it.
    Null: one of them is not known."""
    size = MODEL_BYTES.level(row.baseline).value
    share = roofline_share(row.record, "baseline").value
    if row.record.spec.load.arrivals != CLOSED or not size or not share:
        return None
    return log2(row.record.spec.workload.batch_size), log10(size), log(share)
