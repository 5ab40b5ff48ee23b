"""What the rounds of a race have shown so far: who may still be the best, and who keeps the limits.

All that is said holds at all looks together (see `always_valid`), with the chance `alpha` of a mistake, which
is shared out to all candidates, places and limits (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, inf, log, log1p
from typing import Final, Literal, NamedTuple

from greenbench.stats.always_valid import UNKNOWN, Bounds, Tapes
from greenbench.stats.intervals import CONFIDENCE, MARGIN

ALPHA: Final = 1 - CONFIDENCE
RATIOS, PLACES, LEVELS, LOSS = 0.6, 0.1, 0.15, 0.15
"""Shares of alpha: of ratios, of the baselines' levels, and of the limits. Half of all but the levels' is for
those that begin and half for stacks."""
LOOKS: Final = 3
"""At a candidate's answers: as many items as all get, as many as would tell, and all."""
GOAL: Final = log1p(MARGIN)
SURE: Final = 1e-4
"""No smaller chance of a mistake is spoken of."""
LIKELY: Final = 0.5
MOST_ROUNDS: Final = 40
TRIES: Final = 3
"""Sessions in a row that something spoils, before a candidate is asked no more."""
Settle = Literal["items", "rounds"]
Standing = Literal["kept", "broken", "unsure"]


class Entry(NamedTuple):
    """A candidate."""

    parts: tuple[str, ...]
    """What is stacked; none: the baseline."""
    place: str = ""
    """Where it is measured, as by which engine in which batch: a ratio is to the baseline there."""


class Round(NamedTuple):
    """What a session of a candidate has shown."""

    logs: Sequence[float]
    """Logarithm of candidate over baseline, by block: the less the better."""
    levels: Sequence[float] = ()
    """Logarithm of the baseline's own, by block; needed where there are several places."""
    over: Mapping[str, Sequence[float]] = {}
    """By limit, the logarithm of the candidate over the limit, by block; infinite: it grows for ever."""
    plain: Mapping[str, Sequence[float]] = {}
    """The same of the baseline."""
    p_loss: float | None = 0.0
    """p-value of a loss of quality beyond its limit, by all items so far; null: it cannot be told."""
    more: bool = False
    """Whether it can be asked more items."""


class Board:
    """All rounds, and what follows from them."""

    def __init__(self, started: Sequence[Entry], alpha: float = ALPHA) -> None:
        self.started = list(dict.fromkeys(started))
        self.stacks: list[Entry] = []
        """Those that came later, in that order."""
        self.rounds: dict[Entry, int] = {}
        self.alpha = alpha
        self._ratios: Tapes[Entry] = Tapes()
        self._levels: Tapes[str] = Tapes()
        self._over: dict[str, Tapes[Entry]] = {}
        self._unbounded: set[tuple[Entry, str]] = set()
        self._p_loss: dict[Entry, float | None] = {}
        self._spoilt: dict[Entry, int] = {}
        """In a row, up to the last."""
        self._all_asked: set[Entry] = set()
        """Of whom no more items are asked for good."""
        self._bounds: dict[tuple[Entry, float], Bounds] = {}
        self._alive: list[Entry] | None = None
        self._ahead: list[Entry] | None = None

    def add(self, entry: Entry, found: Round | None, *, more: bool = False) -> None:
        """One more round, or one that something spoilt; `more`: with more items."""
        self.rounds[entry] = self.rounds.get(entry, 0) + 1
        self._bounds, self._alive, self._ahead = {}, None, None
        if found is None:
            self._spoilt[entry] = self._spoilt.get(entry, 0) + 1
            self._all_asked.update([entry] * more)
            return
        self._spoilt[entry] = 0
        self._ratios.add(entry, found.logs)
        self._levels.add(entry.place, found.levels)
        for limit, logs in found.over.items():
            self._held(entry, limit, logs)
            self._held(Entry((), entry.place), limit, found.plain.get(limit, ()))
        self._all_asked.update([entry] * (not found.more))
        self._p_loss[entry] = found.p_loss

    def _held(self, entry: Entry, limit: str, logs: Sequence[float]) -> None:
        tape = self._over.setdefault(limit, Tapes())
        if inf in logs:
            self._unbounded.add((entry, limit))
        else:
            tape.add(entry, logs)

    def is_asked(self, entry: Entry) -> bool:
        """Whether it may get one more round."""
        enough = self.rounds.get(entry, 0) >= MOST_ROUNDS
        return bool(entry.parts) and not enough and self._spoilt.get(entry, 0) < TRIES

    @property
    def entries(self) -> list[Entry]:
        """All, the baselines first, then in the order in which they came."""
        places = dict.fromkeys(entry.place for entry in self.started)
        return [*(Entry((), place) for place in places), *self.started, *self.stacks]

    @property
    def limits(self) -> list[str]:
        """Those that are held against levels; that of quality, ``loss``, is none of them."""
        return list(self._over)

    def bounds(self, entry: Entry, alpha: float | None = None) -> Bounds:
        """Of its logarithmic ratio."""
        if not entry.parts:
            return Bounds(0.0, 0.0)
        share = self._share(entry, (alpha or self.alpha) * RATIOS)
        if (entry, share) not in self._bounds:
            self._bounds[entry, share] = self._ratios.bounds(entry, share)
        return self._bounds[entry, share]

    def mean(self, entry: Entry) -> float | None:
        """Logarithm of its ratio; null before its first round."""
        return self._ratios.mean(entry) if entry.parts else 0.0

    def score(self, entry: Entry) -> float:
        """Logarithm of what it takes, so that places can be set beside each other; infinite before its first
        round."""
        mean = self.mean(entry)
        return inf if mean is None else mean + (self._levels.mean(entry.place) or 0.0)

    def standing(self, entry: Entry, limit: str = "") -> Standing:
        """Whether it keeps one limit, or all: ``loss`` is that of quality."""
        if limit == "loss":
            return self._of_loss(entry)
        if limit:
            if (entry, limit) in self._unbounded:
                return "broken"
            share = self._share(entry, self.alpha * LEVELS) / len(self._over)
            low, high = self._over[limit].bounds(entry, share)
            return "kept" if high <= 0 else "broken" if low > 0 else "unsure"
        found: list[Standing] = [self.standing(entry, each) for each in ("loss", *self._over)]
        words: tuple[Standing, ...] = ("broken", "unsure")
        return next((word for word in words if word in found), "kept")

    def may_keep(self, entry: Entry, least: float = LIKELY) -> bool:
        """Whether, as far as was seen, it keeps all limits, that of quality with a chance of `least`."""
        loss = self._p_loss.get(entry)
        over = (tape.mean(entry) or 0.0 for tape in self._over.values())
        grows = any((entry, limit) in self._unbounded for limit in self._over)
        return (loss is None or loss <= 1 - least) and not grows and all(each <= 0 for each in over)

    def to_settle(self, entry: Entry) -> Settle | None:
        """What would tell whether it keeps the limits; null: nothing would, or it is told."""
        if not self.is_asked(entry):
            return None
        if self.standing(entry, "loss") == "unsure" and entry not in self._all_asked:
            return "items"
        open_ones = [each for each in self._over if self.standing(entry, each) == "unsure"]
        return "rounds" if open_ones else None

    def alive(self) -> list[Entry]:
        """Those that have numbers and break no limit, nor seem to with nothing left that would tell."""
        if self._alive is None:
            places = {entry.place for entry in self.rounds if self.mean(entry) is not None}
            seen = [e for e in self.entries if e.place in places and self.mean(e) is not None]
            held = [each for each in seen if self.standing(each) != "broken"]
            self._alive = [each for each in held if self.may_keep(each) or self.to_settle(each)]
        return self._alive

    def contenders(self) -> list[Entry]:
        """Those of them that none which seems to keep the limits is surely better than, the best first."""
        if self._ahead is None:
            alive = self.alive()
            keeping = [each for each in alive if self.may_keep(each)]
            kept = [one for one in alive if not any(self._beats(other, one) for other in keeping)]
            self._ahead = sorted(kept, key=self.score)
        return self._ahead

    @property
    def best(self) -> Entry | None:
        """Of those that seem to keep the limits; null: there is none."""
        return next(filter(self.may_keep, self.contenders()), None)

    def beaten_by(self, entry: Entry) -> Entry | None:
        """The best that seems to keep the limits and is surely better."""
        keeping = filter(self.may_keep, self.alive())
        better = [each for each in keeping if self._beats(each, entry)]
        return min(better, key=self.score, default=None)

    def nearest(self) -> Entry | None:
        """Who may be the furthest below the best; null: there is no other."""
        best = self.best
        rest = [each for each in self.alive() if each != best]
        return max(rest, key=lambda each: self.gap(best, each).high, default=None) if best else None

    def is_sure(self, alpha: float | None = None) -> bool:
        """Whether the best is within 2 % of all others that are not thought to break a limit."""
        best = self.best
        rest = [each for each in self.alive() if each != best]
        return best is not None and all(self.gap(best, each, alpha).high <= GOAL for each in rest)

    def confidence(self) -> float:
        """The chance with which the best is within 2 % of all not thought to break a limit, at least."""
        low, high = log(SURE), 0.0
        if not self.is_sure(1.0):
            return 0.0
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (low, middle) if self.is_sure(exp(middle)) else (middle, high)
        return 1 - exp(high)

    def gap(self, one: Entry, other: Entry, alpha: float | None = None) -> Bounds:
        """By how much one is above the other, in logarithms."""
        mine, theirs = self.bounds(one, alpha), self.bounds(other, alpha)
        gap = Bounds(mine.low - theirs.high, mine.high - theirs.low)
        if one.place == other.place:
            return gap
        share = (alpha or self.alpha) * PLACES / len({entry.place for entry in self.started})
        mine, theirs = (self._levels.bounds(each.place, share) for each in (one, other))
        if UNKNOWN in (mine, theirs):
            return UNKNOWN
        return Bounds(gap.low + mine.low - theirs.high, gap.high + mine.high - theirs.low)

    def _beats(self, one: Entry, other: Entry) -> bool:
        return one != other and self.gap(one, other).high < 0

    def _of_loss(self, entry: Entry) -> Standing:
        if not entry.parts:
            return "kept"
        p_loss, bar = self._p_loss.get(entry), self.loss_alpha(entry)
        if p_loss is None:
            return "unsure"
        return "kept" if p_loss < bar else "broken" if p_loss > 1 - bar else "unsure"

    def loss_alpha(self, entry: Entry) -> float:
        """The p-value below which, at one look, a loss of quality is excluded."""
        return self._share(entry, self.alpha * LOSS) / LOOKS

    def _share(self, entry: Entry, alpha: float) -> float:
        """Of alpha, for one entry: stacks get less the later they come, as no one knows how many will."""
        if entry not in self.stacks:
            return alpha / 2 / (len(self.entries) - len(self.stacks))
        turn = self.stacks.index(entry) + 1
        return alpha / 2 / (turn * (turn + 1))
