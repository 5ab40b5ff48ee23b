"""All that a run's windows say: drawn from them by the run, and again by whoever reads its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from greenbench.analysis import blocks, disturbances, footprint
from greenbench.analysis.graded.replies import Graded
from greenbench.analysis.graded.solved import Solved, solved
from greenbench.analysis.idle import idle_power, resting_power, waiting, waiting_codes
from greenbench.analysis.load_curve import load_codes, load_curve
from greenbench.analysis.readings import Full
from greenbench.analysis.uncertainty import budgets
from greenbench.analysis.verdicts import judge_exact
from greenbench.models import inputs
from greenbench.schema.codes import Validity, validity
from greenbench.schema.load_spec import SloSpec
from greenbench.schema.metrics import (
    ENERGY_PER_SOLVED,
    ENERGY_PER_TOKEN,
    MODEL_BYTES,
    SHARE_SOLVED,
    TOKENS_PER_ANSWER,
)
from greenbench.schema.quantity import Quantity
from greenbench.schema.resolved import ResolvedSlo
from greenbench.schema.solved import Solving
from greenbench.schema.traffic import LoadCurve
from greenbench.schema.verdict import Verdict
from greenbench.schema.window import WHO, Who, Window

ROOMS: Final = ("analysis", "records", "schema", "stats")
"""Where the code lies that makes a record's numbers of its windows."""


class Told(NamedTuple):
    """What the windows do not tell, and their numbers hang on."""

    tier: str
    slo: SloSpec | ResolvedSlo
    is_open: bool
    """Whether requests come at their own times."""
    settled: bool
    """Whether the warm-up of both models had."""
    codes: Sequence[str]
    """What only the run itself saw, such as ``on_battery``."""
    apart: str | None
    """Why the models were measured in turn, if they were."""
    held: Mapping[Who, float | None]
    """Bytes of each model's weights."""
    unknown: str
    """Why one of these is null."""
    no_energy: str
    """Why there are no joules."""
    planned: int
    """Blocks after which it was decided how many there would be."""


class Conclusions(NamedTuple):
    """What follows."""

    windows: list[Window]
    """With the codes that only several of them show."""
    metrics: dict[Who, dict[str, Quantity]]
    """Of each model, but for its bytes."""
    ratios: dict[str, Quantity]
    verdicts: dict[str, Verdict]
    solved: Solved
    validity: Validity
    codes: list[str]
    others: dict[str, Any]
    """Further fields of the findings, by name."""


def conclusions(taken: Sequence[Window], told: Told, graded: Sequence[Graded] = ()) -> Conclusions:
    """All numbers, verdicts and codes of a run whose windows and graded answers are these."""
    everything = disturbances.with_clock_codes(disturbances.with_wall_codes(taken))
    windows = blocks.valid_blocks(everything)
    resting = idle_power(everything, told.no_energy)
    beside = waiting(everything, told.no_energy, told.apart)
    curve = _curve(everything, resting, told)
    codes = _codes(everything, told, curve) | {*waiting_codes(beside, windows)}
    sound = validity(sorted(codes))
    in_turn = told.apart is not None
    found = solved(graded, everything, told.tier, sound, told.no_energy, in_turn=in_turn)
    before, after = (told.held[who] for who in WHO)
    full, first = _full(curve), blocks.deciding(windows, told.planned)
    ratios = blocks.ratios(windows, told.no_energy, full, first, in_turn=in_turn)
    ratios[MODEL_BYTES.ratio] = footprint.exact_ratio(before, after, told.unknown)
    ratios |= _by_name(found.of("ratio"), ratio=True)
    metrics = {
        who: blocks.metrics(windows, who, told.no_energy, full, in_turn=in_turn)
        | _by_name(found.of(who), ratio=False)
        for who in WHO
    }
    energy = metrics["candidate"][ENERGY_PER_TOKEN.name]
    return Conclusions(
        windows=everything,
        metrics=metrics,
        ratios=ratios,
        verdicts=blocks.verdicts(windows, told.tier, sound, full, first, in_turn=in_turn)
        | _sizes(before, after)
        | found.verdicts,
        solved=found,
        validity=sound,
        codes=sorted(codes),
        others={
            "idle": resting,
            "waiting": beside,
            "load": curve,
            "uncertainty": budgets(
                windows, energy, ratios[ENERGY_PER_TOKEN.ratio], resting_power(resting)
            ),
        },
    )


@cache
def code() -> str:
    """Hash of the code that draws conclusions, with the versions of numpy and scipy, which draw at random
    for it: the same hash gives the same numbers."""
    root = Path(__file__).parents[1]
    files = [path for room in ROOMS for path in sorted((root / room).rglob("*.py"))]
    text = inputs.tree({str(path.relative_to(root)): path for path in files})
    return inputs.key([text, version("numpy"), version("scipy")])[:16]


def _codes(windows: Sequence[Window], told: Told, curve: LoadCurve | None) -> set[str]:
    found = disturbances.run_codes(windows, told.tier, told.settled)
    found += disturbances.drift_codes(blocks.valid_blocks(windows)) if told.apart else []
    return {*found, *told.codes, *(load_codes(windows, curve) if curve else ())}


def _full(curve: LoadCurve | None) -> Full:
    """At the load of the run's own numbers, so that these say what its curve says."""
    if curve is None:
        return None
    own = (point for point in curve.points if point.load == curve.headline)
    return next(({who: point.side(who).saturated for who in WHO} for point in own), None)


def _sizes(before: float | None, after: float | None) -> dict[str, Verdict]:
    """On the bytes, where both are known."""
    if before is None or after is None:
        return {}
    return {MODEL_BYTES.ratio: judge_exact(MODEL_BYTES.ratio, before, after)}


def _by_name(found: Solving | None, *, ratio: bool) -> dict[str, Quantity]:
    """What a right answer takes, beside the run's other numbers; nothing where no answers were graded."""
    if found is None:
        return {}
    each = {
        ENERGY_PER_SOLVED: found.energy_per_solved,
        TOKENS_PER_ANSWER: found.tokens_per_answer,
        SHARE_SOLVED: found.share_solved,
    }
    return {metric.ratio if ratio else metric.name: value for metric, value in each.items()}


def _curve(
    windows: Sequence[Window], resting: Mapping[str, Quantity], told: Told
) -> LoadCurve | None:
    """What the windows under load show, if there are any."""
    blocks_own = (w.place.load for w in windows if w.place and w.place.series == "block")
    headline = next(blocks_own, None)
    if headline is None:
        return None
    unit: Literal["request/s", "users"] = "request/s" if told.is_open else "users"
    return load_curve(
        windows, resting, told.slo, unit, headline, told.no_energy,
        planned=told.planned, in_turn=told.apart is not None,
    )  # fmt: skip
