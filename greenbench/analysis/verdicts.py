"""Verdicts: what the ratios of a run, and of a sweep of runs, show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from greenbench.schema.codes import Validity
from greenbench.schema.metrics import TOKENS_PER_S
from greenbench.schema.quantity import Provenance
from greenbench.schema.verdict import Comparison, Verdict, Word
from greenbench.stats.intervals import (
    CONFIDENCE,
    MARGIN,
    Interval,
    holm,
    p_difference,
    p_equivalence,
    paired_ratio,
)
from greenbench.stats.standard_errors import Stays

ALPHA: Final = 1 - CONFIDENCE
RECIPROCALS: Final = {TOKENS_PER_S.ratio: "seconds_per_token"}
"""Metrics of which more is better, and what is judged in their place: less of it is better."""


CLOCKED: Final = 5
"""Blocks from which on speed may be judged in any tier, as many as tier dev has. Long windows are for a
meter's ticks and for heat to settle; a clock's tick is nothing beside any window, and what else moves speed
is in the blocks' spread."""


def judge(
    metric: str,
    baseline: Sequence[float],
    candidate: Sequence[float],
    *,
    provenance: Provenance,
    tier: str,
    validity: Validity,
    first: int | None = None,
    stays: Stays | None = None,
) -> Verdict:
    """One run's verdict on one metric from its values per block, as a family of one.

    Design rules 4 to 7: `saves` needs a 95 % interval below 1, a ratio below 1 - 2 % and a
    p-value below 0.05; `costs` is the mirror; `equivalent` needs TOST below 0.05. Estimates,
    invalid runs and tier smoke are barred, this but for speed from `CLOCKED` blocks on. `first` blocks
    decided how many there are; models in turn have `stays`. Raises ValueError where the lengths differ.
    """
    clocked = metric == TOKENS_PER_S.ratio and len(baseline) >= CLOCKED
    barred = _barred(provenance, "dev" if clocked else tier, validity)
    name = RECIPROCALS.get(metric, metric)
    lacking = _lacking(list(zip(baseline, candidate, strict=True)))
    if lacking:
        return _decided(Comparison(metric=name, provenance=provenance, barred=barred or lacking))
    if metric in RECIPROCALS:
        baseline, candidate = ([1 / value for value in side] for side in (baseline, candidate))
    value, low, high, n, why = paired_ratio(baseline, candidate, first, stays)
    p_value = p_difference(baseline, candidate, first, stays)
    return _decided(
        Comparison(
            metric=name,
            provenance=provenance,
            ratio=value,
            low=low,
            high=high,
            n=n,
            method="t",
            p_difference=p_value,
            p_adjusted=p_value,
            p_equivalence=p_equivalence(baseline, candidate, first=first, stays=stays),
            barred=barred or (why if p_value is None else None),
        )
    )


def judge_found(
    metric: str,
    found: Interval,
    p_difference: float | None,
    p_equivalence: float | None,
    *,
    provenance: Provenance,
    tier: str,
    validity: Validity,
    lacking: str | None,
) -> Verdict:
    """As `judge`, of a ratio whose interval and tests are known; `lacking`: why nothing is claimed."""
    barred = _barred(provenance, tier, validity) or lacking
    if lacking or p_difference is None:
        why = barred or found.reason or "there is no test of it"
        return _decided(Comparison(metric=metric, provenance=provenance, n=found.n, barred=why))
    return _decided(
        Comparison(
            metric=metric,
            provenance=provenance,
            ratio=found.value,
            low=found.low,
            high=found.high,
            n=found.n,
            method="draws",
            p_difference=p_difference,
            p_adjusted=p_difference,
            p_equivalence=p_equivalence,
            barred=barred,
        )
    )


def judge_unreached(found: Verdict, least: float | None, why: str) -> Verdict:
    """Verdict on what the candidate does not always come to, `found` with what it had spent by its end.

    It is no test, as of so censored a ratio only the bound `least` is known; what barred the other bars this.
    """
    known = found.model_copy(
        update={
            "ratio": None,
            "low": None if found.barred else least,
            "high": None,
            "p_difference": None,
            "p_adjusted": None,
            "p_equivalence": None,
        }
    )
    if found.barred:
        return known
    return known.model_copy(update={"verdict": "not reached", "reason": f"{why}."})


def judge_exact(metric: str, baseline: float, candidate: float) -> Verdict:
    """Verdict on two exact counts above 0, such as bytes: only the size of the effect decides."""
    ratio = candidate / baseline
    word: Word = "saves" if ratio < 1 - MARGIN else "costs" if ratio > 1 + MARGIN else "equivalent"
    return Verdict(
        metric=metric,
        provenance="measured:memory",
        ratio=ratio,
        low=ratio,
        high=ratio,
        n=1,
        method="exact",
        verdict=word,
        reason=f"{ratio:.4f} of the baseline's {metric}: an exact count.",
    )


def judge_sweep(
    verdicts: Sequence[Verdict], beside: Mapping[str, Sequence[float]] = MappingProxyType({})
) -> list[Verdict]:
    """The verdicts of a sweep's runs, in the order given, judged anew after Holm.

    `beside` holds the p-values, by metric, of runs of the sweep that are not in `verdicts`. Each
    metric is a family: one test for each run. Barred runs and exact counts are not tests.
    Equivalence is not adjusted: TOST guards another claim, made of one run at a time.
    """
    found = list(verdicts)
    for metric in {verdict.metric for verdict in found}:
        family = {
            index: verdict.p_difference
            for index, verdict in enumerate(found)
            if verdict.metric == metric and tested(verdict) and verdict.p_difference is not None
        }
        adjusted = holm([*family.values(), *(others := beside.get(metric, ()))])
        for index, p_adjusted in zip(family, adjusted, strict=False):
            changes = {"p_adjusted": p_adjusted, "family": len(family) + len(others)}
            found[index] = _decided(found[index].model_copy(update=changes))
    return found


def tested(verdict: Verdict) -> bool:
    """Whether it is one of the tests of its sweep."""
    return not verdict.barred and verdict.p_difference is not None


def _barred(provenance: Provenance, tier: str, validity: Validity) -> str | None:
    if provenance in {"estimated:model", "assumed"}:
        return "an estimate is never graded: it cannot show a saving that latency does not show"
    if validity == "invalid":
        return "the run is invalid: its codes say what disturbed it"
    if tier == "smoke":
        return "tier smoke makes no claims: it measures too briefly"
    return None


def _lacking(pairs: list[tuple[float, float]]) -> str | None:
    if not pairs:
        return "no block has values of both"
    if min(map(min, pairs)) <= 0:
        return "a block's value is not above 0: windows are too short to tell"
    return None


def _decided(numbers: Comparison) -> Verdict:
    """The verdict that `numbers` give."""
    word, reason = _word(numbers)
    known = {name: getattr(numbers, name) for name in Comparison.model_fields}
    return Verdict(**known, verdict=word, reason=reason)


def _word(found: Comparison) -> tuple[Word, str]:
    """The verdict in one word and one sentence."""
    ratio, low, high, p_value = found.ratio, found.low, found.high, found.p_adjusted
    if found.barred or ratio is None or low is None or high is None or p_value is None:
        return "inconclusive", f"No claim: {found.barred}."
    what = f"{ratio:.4f} [{low:.4f}, {high:.4f}] of the baseline's {found.metric}"
    shown = f"p = {p_value:.2g}{f' after Holm over {found.family}' if found.family > 1 else ''}"
    percent, tost = f"{100 * found.margin:g} %", found.p_equivalence
    apart, large = high < 1 or low > 1, abs(ratio - 1) > found.margin
    if apart and large and p_value < ALPHA:
        return "saves" if ratio < 1 else "costs", f"{what}: over {percent} from 1 ({shown})."
    if tost is not None and tost < ALPHA:
        return "equivalent", f"{what}: within {percent} of 1 (TOST p = {tost:.2g})."
    if not apart:
        return "inconclusive", f"{what}: too uncertain to tell a difference from none."
    if not large:
        return "inconclusive", f"{what}: apart from 1, but not by over {percent}."
    return "inconclusive", f"{what}: over {percent} from 1, but chance could do it ({shown})."
