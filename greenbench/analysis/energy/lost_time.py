"""Why time was not saved, proven: profiles of both models, split into named causes with their shares.

Each kind of time is compared with what it would be had it shrunk as promised. What is over is the lost
time; it adds up over the kinds, so that every cause has its share of it, and what no evidence carries is left
unexplained.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Final, TypeAlias

from greenbench.analysis.energy.causes import (
    AMDAHL,
    CACHE,
    CAUSES,
    COMPUTE,
    DEQUANTIZATION,
    FALLBACK,
    HOST,
    LAUNCHES,
    OTHERS,
    OWN,
    PIECES,
    SLOW,
    SLOWER,
    SPILLED,
    WAITS,
    ZEROS,
    Cause,
    Claim,
    Split,
)
from greenbench.schema.profile import Kind, Operator, Profile, Profiled
from greenbench.stats.intervals import mean_interval, paired_ratio
from greenbench.wording import number

REPETITIONS: Final = 3
"""Fewer show no spread."""
SHARE: Final = 0.15
"""Of the lost time: a cause has more, its whole 95 % interval."""
EFFECT: Final = 0.02
"""Of the time that was promised: less is not lost."""
PRODUCTS: Final[tuple[Kind, ...]] = ("products", "packed products")
Series: TypeAlias = Sequence[float]
"""Seconds, by repetition."""


def split(profile: Profile, claim: Claim) -> Split | None:
    """What both models' profiles show; null where there are none."""
    if profile.baseline is None or profile.candidate is None:
        return None
    sides = _Sides(profile.baseline, profile.candidate, claim)
    if sides.n < REPETITIONS or min(*sides.base_s, *sides.mine_s) <= 0:
        return Split(reason=f"fewer than {REPETITIONS} repetitions show no spread")
    took = paired_ratio([claim.ratio * each for each in sides.base_s], sides.mine_s)
    if took.low is None or took.low <= 1 + EFFECT:
        return Split(took, reason="no lost time shows in the profile")
    found = _named(sides)
    over = [sum(max(0.0, each) for each in some) for some in zip(*found.values(), strict=True)]
    whole = list(map(max, over, _less(sides.mine_s, sides.base_s, claim.ratio)))
    shares = {
        name: mean_interval([some / all_s for some, all_s in zip(found[name], whole, strict=True)])
        for name in found
    }
    causes = [
        Cause(name, share, _said(sides, found[name]), _operators(sides, name))
        for name, share in sorted(shares.items(), key=lambda item: -item[1].value)
        if share.low is not None and share.low > SHARE
    ]
    return Split(took, causes, max(0.0, 1 - sum(cause.share.value for cause in causes)))


class _Sides:
    """Both models' time, by kind and repetition."""

    def __init__(self, baseline: Profiled, candidate: Profiled, claim: Claim) -> None:
        self.baseline, self.candidate, self.claim = baseline, candidate, claim
        sides = (baseline, candidate)
        self.n = min(len(each) for side in sides for each in (side.wall_s, *side.kinds_s.values()))
        self.base_s, self.mine_s = self._whole(baseline), self._whole(candidate)

    def before(self, *kinds: Kind) -> list[float]:
        """The baseline's."""
        return _sum(self._of(self.baseline, kind) for kind in kinds)

    def after(self, *kinds: Kind) -> list[float]:
        """The candidate's."""
        return _sum(self._of(self.candidate, kind) for kind in kinds)

    def over(self, *kinds: Kind) -> list[float]:
        """What the candidate's are over as promised."""
        return _less(self.after(*kinds), self.before(*kinds), self.claim.ratio)

    def parts(self, *kinds: Kind) -> tuple[list[float], list[float]]:
        """Of that, what was added to the baseline's, and what was not saved of it."""
        over, added = self.over(*kinds), _less(self.after(*kinds), self.before(*kinds))
        if fmean(added) <= 0:
            added = [0.0] * self.n
        return added, _less(over, added)

    def calls(self, *kinds: Kind) -> tuple[float, float]:
        """Of operators, the baseline's and the candidate's."""
        counts = (self.baseline.calls, self.candidate.calls)
        before, after = (sum(each.get(kind, 0.0) for kind in kinds) for each in counts)
        return before, after

    def _of(self, side: Profiled, kind: Kind) -> list[float]:
        return [*side.kinds_s.get(kind, [0.0] * self.n)][: self.n]

    def _whole(self, side: Profiled) -> list[float]:
        return _sum(([0.0] * self.n, *(each[: self.n] for each in side.kinds_s.values())))


def _named(sides: _Sides) -> dict[str, list[float]]:
    """Seconds over as promised, by cause and repetition; of what has none, nothing."""
    found = _Found(sides.n)
    converted = sides.calls("conversions")[1] > sides.calls("conversions")[0]
    elsewhere = _is_elsewhere(sides)
    _products(sides, found, converted=converted, elsewhere=elsewhere)
    found.add(DEQUANTIZATION, sides.over("conversions"))
    found.add(SPILLED, sides.over("copies"))
    found.add(WAITS, sides.over("waiting"))
    added, unsaved = sides.parts("matrix work")
    whose = FALLBACK if elsewhere else DEQUANTIZATION if converted else OWN
    found.add(whose, added)
    found.add(AMDAHL, unsaved)
    _attention(sides, found)
    added, unsaved = sides.parts("operators")
    found.add(FALLBACK if elsewhere else OWN, added)
    found.add(AMDAHL, unsaved)
    begun = FALLBACK if elsewhere else LAUNCHES
    added, unsaved = sides.parts("launches")
    found.add(begun, added)
    found.add(LAUNCHES, unsaved)
    _outside(sides, found, begun)
    return found.seconds


class _Found:
    """What was given to each cause so far."""

    def __init__(self, n: int) -> None:
        self._n = n
        self.seconds: dict[str, list[float]] = {}

    def add(self, name: str, seconds: Series) -> None:
        """Some more of one cause."""
        self.seconds[name] = _sum((self.seconds.get(name, [0.0] * self._n), seconds))


def _is_elsewhere(sides: _Sides) -> bool:
    """Whether other operators do what products did."""
    wanted = sides.claim.work * sides.baseline.multiplications
    missing = wanted - sides.candidate.multiplications
    instead = sides.candidate.elements - sides.baseline.elements
    return 0 < OTHERS * wanted <= missing <= 2 * instead


def _products(sides: _Sides, found: _Found, *, converted: bool, elsewhere: bool) -> None:
    """Time of products: of slower ones, and of those that were to be faster and are as they were."""
    before, over, other = sides.before(*PRODUCTS), sides.over(*PRODUCTS), _is_other(sides)
    if elsewhere:
        found.add(FALLBACK, over)
        return
    left = _left(sides, other=other)
    slower = _less(sides.after(*PRODUCTS), before, left)
    unsaved = _less(over, slower)
    if fmean(slower) > SLOWER * left * fmean(before):
        whose = DEQUANTIZATION if converted and not other else SLOW
        whose = LAUNCHES if _is_cut(sides) else whose
        found.add(whose, slower)
        if other:
            found.add(whose, unsaved)
            return
    _unsaved(sides, found, unsaved, converted=converted, other=other)


def _left(sides: _Sides, *, other: bool) -> float:
    """Multiplications over the baseline's; of packed matrices, whose shapes do not tell, as promised."""
    many = sides.baseline.multiplications
    return sides.claim.work if other or not many else sides.candidate.multiplications / many


def _unsaved(
    sides: _Sides, found: _Found, unsaved: Series, *, converted: bool, other: bool
) -> None:
    """Products that take as long as the baseline's, or not as much less as promised."""
    bound = [0.0] * sides.n
    if sides.claim.work > 1 - EFFECT and not sides.claim.zeros:
        sizes = (sides.baseline.by_rows_s, sides.candidate.by_rows_s)
        grows = [min(pair) for pair in zip(*sizes, strict=False)]
        bound = [(1 - sides.claim.ratio) * each for each in grows[: sides.n]]
        if fmean(bound) > fmean(unsaved):
            bound = [max(0.0, each) for each in unsaved]
        found.add(COMPUTE, bound)
    if not other:  # else its kernel is faster, though not as promised: the profile does not say why
        whose = DEQUANTIZATION if converted else ZEROS if sides.claim.zeros else AMDAHL
        found.add(whose, _less(unsaved, bound))


def _is_other(sides: _Sides) -> bool:
    """Whether half of the candidate's products or more are by kernels that the baseline does not run."""
    known = {_kernel(each) for each in sides.baseline.operators}
    mine = [each for each in sides.candidate.operators if each.kind in PRODUCTS]
    theirs_s = sum(sum(each.seconds) for each in mine if _kernel(each) not in known)
    return theirs_s > sum(sum(each.seconds) for each in mine) / 2


def _kernel(operator: Operator) -> tuple[str, frozenset[str]]:
    """With a bias or without it is the same."""
    return operator.name.replace("::add", "::"), frozenset(operator.numbers.split(" × "))


def _is_cut(sides: _Sides) -> bool:
    before, after = sides.calls(*PRODUCTS)
    return after >= PIECES * max(before, 1.0)


def _attention(sides: _Sides, found: _Found) -> None:
    added, unsaved = sides.parts("attention")
    longer = fmean(sides.after("attention")) > fmean(sides.after(*PRODUCTS))
    if fmean(added) > SLOWER * fmean(sides.before("attention")):
        found.add(OWN, added)
    else:
        unsaved = _sum((added, unsaved))
    found.add(CACHE if longer else AMDAHL, unsaved)


def _outside(sides: _Sides, found: _Found, begun: str) -> None:
    """Each operator is begun from Python: of more operators than the baseline's that is theirs."""
    over, before = sides.over("outside operators"), sides.before("outside operators")
    kinds = {*sides.baseline.calls, *sides.candidate.calls}
    many, more = sides.calls(*kinds)
    growth = more / many - 1 if many else 0.0
    theirs = [min(growth * each, max(0.0, extra)) for each, extra in zip(before, over, strict=True)]
    if growth <= SLOWER:
        theirs = [0.0] * sides.n
    found.add(begun, theirs)
    found.add(HOST, _less(over, theirs))


def _said(sides: _Sides, seconds: Series) -> str:
    mine, theirs = map(_milliseconds, (sides.mine_s, sides.base_s))
    took = f"which took {mine} ms, the baseline's {theirs}"
    return f"{_milliseconds(seconds)} ms of a request batch, {took}"


def _milliseconds(seconds: Series) -> str:
    return number(1e3 * fmean(seconds))


def _operators(sides: _Sides, name: str) -> list[str]:
    """The one of each kind that took longest."""
    kinds = CAUSES[name].kinds
    longest = {
        each.kind: each for each in reversed(sides.candidate.operators) if each.kind in kinds
    }
    whole_s = sum(map(fmean, sides.candidate.kinds_s.values()))
    return [
        f"{each.name} ({each.numbers})" if each.numbers else each.name
        for kind in kinds
        if (each := longest.get(kind)) and fmean(each.seconds) > EFFECT * whole_s
    ]


def _sum(series: Iterable[Series]) -> list[float]:
    return [sum(each) for each in zip(*series, strict=True)]


def _less(one: Series, other: Series, times: float = 1.0) -> list[float]:
    return [first - times * second for first, second in zip(one, other, strict=True)]
