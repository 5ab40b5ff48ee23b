"""A race: which of many candidates is the best within 2 %, by looks after each of which some are left behind.

Every candidate gets one round. Then those that may still be the best get more, and stacks of them are tried,
until one is surely within 2 % of the best of all that are not thought to break a limit, or what a race may
cost is spent. Who is behind one that is not shown to keep the limits waits, and comes back should it break
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from greenbench.stats.contenders import ALPHA, GOAL, TRIES, Board, Entry, Round

LEAST: Final = 0.1
"""What keeps the limit of quality with a smaller chance is no part of a stack."""
FIRST: Final = 5
"""Rounds of one by which it may be settled whether it keeps a limit, before stacks are tried."""


class Spoilt(NamedTuple):
    """A session that shows nothing, where the next one may."""

    why: str


Measure = Callable[[Entry, int, bool], Round | Spoilt | str]
"""Of an entry its n-th round, with more items where that is asked for; or why there can be none."""


def _alone(base: Entry, part: Entry) -> Entry | None:
    return None


class Race:
    """Asks for rounds, one after the other, by what those before have shown."""

    def __init__(
        self,
        entries: Iterable[Entry],
        measure: Measure,
        stacked: Callable[[Entry, Entry], Entry | None] = _alone,
        afford: Callable[[Entry, bool], bool] = lambda entry, more: True,
        alpha: float = ALPHA,
    ) -> None:
        """`stacked` puts a part on top of an entry, where that can be; `afford`: whether there is enough left
        for one more round of an entry, with more items or as before."""
        self.board = Board(list(entries), alpha)
        self.failed: dict[Entry, str] = {}
        """Those that cannot be measured, and why."""
        self.left: dict[Entry, int] = {}
        """Rounds that there had been when an entry was left behind."""
        self.spent_out = False
        """Whether it ended as no more could be afforded."""
        self._measure, self._stacked, self._afford = measure, stacked, afford
        self._tops: dict[tuple[Entry, Entry], Entry | None] = {}

    def run(self) -> None:
        """Until nothing is left to be asked, or to be spent."""
        while (wanted := self._next()) is not None:
            entry, more = wanted
            if not self._afford(entry, more):
                self.spent_out = True
                return
            if entry not in self.board.entries:
                self.board.stacks.append(entry)
            self._take(entry, more=more)

    def _take(self, entry: Entry, *, more: bool) -> None:
        board, count = self.board, self.board.rounds.get(entry, 0) + 1
        found = self._measure(entry, count, more)
        if isinstance(found, str) and count == 1:
            self.failed[entry] = found
            return
        if not isinstance(found, Round):
            board.add(entry, None, more=more)
            if board.mean(entry) is None and (isinstance(found, str) or count == TRIES):
                self.failed[entry] = found if isinstance(found, str) else found.why
            return
        board.add(entry, found, more=more)
        ahead, total = set(board.contenders()), sum(board.rounds.values())
        for each in board.rounds:
            if each in ahead:
                self.left.pop(each, None)
            else:
                self.left.setdefault(each, total)

    def _next(self) -> tuple[Entry, bool] | None:
        """Whose round is to be measured, and whether with more items."""
        board = self.board
        fresh = (each for each in board.started if not self._is_known(each))
        if (first := next(fresh, None)) is not None:
            return first, False
        if (spoilt := self._spoilt()) is not None:
            return spoilt, False
        best = board.best
        if best is None:
            return self._settled(next(iter(board.contenders()), None))
        if board.rounds.get(best, 0) < FIRST and (wanted := self._settled(best)):
            return wanted  # before anything is stacked on it
        if (stack := self._proposal(best)) is not None:
            return stack, False
        return self._settled(best) or self._settled(self._doubtful(best)) or self._closer(best)

    def _spoilt(self) -> Entry | None:
        """Who was asked the least of those that have shown nothing yet."""
        rounds = self.board.rounds
        silent = (each for each in rounds if self.board.mean(each) is None)
        return min(
            (e for e in silent if e not in self.failed), key=rounds.__getitem__, default=None
        )

    def _closer(self, best: Entry) -> tuple[Entry, bool] | None:
        """The round that would bring the best and who is nearest to it apart."""
        near = None if self.board.is_sure() else self.board.nearest()
        if near is None:
            return None
        if not self.board.may_keep(near):
            return self._settled(near)
        asked = [each for each in (best, near) if self.board.is_asked(each)]
        chosen = min(asked, key=lambda each: self.board.rounds[each], default=None)
        return None if chosen is None else (chosen, False)

    def _settled(self, entry: Entry | None) -> tuple[Entry, bool] | None:
        """The round that would tell whether it keeps the limits."""
        settle = entry and self.board.to_settle(entry)
        return (entry, settle == "items") if entry and settle else None

    def _is_known(self, entry: Entry) -> bool:
        return entry in self.board.rounds or entry in self.failed

    def _proposal(self, best: Entry) -> Entry | None:
        """The most promising stack of a contender and a single candidate, if any may beat the best by 2 %.

        Techniques are taken to save no more together than each by itself, one upon the other.
        """
        bar = self.board.score(best) - GOAL
        pairs = sorted(self._pairs(self._parts(doubtful=False)), key=lambda pair: pair[2])
        tops = (self._top(base, part) for base, part, reach in pairs if reach < bar)
        return next((stack for stack in tops if stack is not None), None)

    def _doubtful(self, best: Entry) -> Entry | None:
        """A part of which such a stack would be, did it not seem to break a limit, which is not shown."""
        bar = self.board.score(best) - GOAL
        pairs = self._pairs(self._parts(doubtful=True))
        found = (part for base, part, reach in pairs if reach < bar and self._top(base, part))
        return next(found, None)

    def _parts(self, *, doubtful: bool) -> list[Entry]:
        """Single candidates that seem to save what is worth a run, and to keep the limits or else not to."""
        board = self.board
        saving = [each for each in board.started if (board.mean(each) or 0.0) < -GOAL]
        if not doubtful:
            return [each for each in saving if board.may_keep(each, LEAST)]
        asked = [
            each for each in saving if board.to_settle(each) and not board.may_keep(each, LEAST)
        ]
        return [each for each in asked if board.standing(each) == "unsure"]

    def _pairs(self, parts: Sequence[Entry]) -> Iterator[tuple[Entry, Entry, float]]:
        """A contender, what may be put on top of it, and what both would come to."""
        board = self.board
        for base in board.contenders():
            if not base.parts or not board.may_keep(base, LEAST):
                continue
            for part in parts:
                if part.place == base.place and not set(part.parts) <= set(base.parts):
                    yield base, part, board.score(base) + (board.mean(part) or 0.0)

    def _top(self, base: Entry, part: Entry) -> Entry | None:
        """Their stack, where it can be and was not tried."""
        if (base, part) not in self._tops:
            self._tops[base, part] = self._stacked(base, part)
        stack = self._tops[base, part]
        return None if stack is None or self._is_known(stack) else stack
