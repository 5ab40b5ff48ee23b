"""Two models that answer as one: what the small one is not sure of is handed over to the large one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

from greenbench.engines.engine import (
    Build,
    Completion,
    Engine,
    Footprint,
    Line,
    Request,
    Served,
    T,
)
from greenbench.engines.query import Nearness, Seen
from greenbench.engines.writing import Ask, Written
from greenbench.errors import EngineFault, UserError
from greenbench.machine.detect import Machine


def surety(answer: Completion) -> float:
    """How sure the small model is of it, 0 of an empty answer. Raises EngineFault where that is not told."""
    if answer.confidence is None and answer.tokens:
        raise EngineFault(
            "The small model of technique=cascade does not tell how likely its tokens are, so that nothing "
            "says what to hand over: choose another engine."
        )
    return answer.confidence or 0.0


class Rule(NamedTuple):
    """Which answers of the small model are kept."""

    threshold: float
    """Those it is at least so sure of; infinite: none."""
    observed: MutableMapping[str, Any]
    """How many were asked and handed over is counted here."""

    def doubted(self, answers: Sequence[Completion]) -> list[int]:
        """Places of those that are handed over, empty ones too. Raises EngineFault where the engine tells no
        probabilities."""
        found = [
            place
            for place, answer in enumerate(answers)
            if not answer.tokens or surety(answer) < self.threshold
        ]
        for name, many in (("asked", len(answers)), ("handed_over", len(found))):
            self.observed[name] = self.observed.get(name, 0) + many
        return found


class Cascade:
    """Both stay resident; a question that is handed over costs what both do, and takes as long."""

    def __init__(self, small: Served, large: Served, rule: Rule) -> None:
        self.small, self.large, self._rule = small, large, rule
        self.tokenizer = large.tokenizer
        limits = [limit for each in (small, large) if (limit := each.max_tokens) is not None]
        self.max_tokens = min(limits, default=None)

    def complete(self, batch: Sequence[Request]) -> list[Completion]:
        """All by the small model, and then by the large one what that doubts."""
        found = self.small.complete([each._replace(sure=True) for each in batch])
        doubted = self._rule.doubted(found)
        if doubted:
            better = self.large.complete([batch[place] for place in doubted])
            for place, each in zip(doubted, better, strict=True):
                found[place] = _after(found[place], each)
        return found

    def write(self, asks: Sequence[Ask]) -> list[Written]:
        """As `complete`."""
        found = self.small.write([each._replace(sure=True) for each in asks])
        doubted = self._rule.doubted([each.completion for each in found])
        if doubted:
            better = self.large.write([asks[place] for place in doubted])
            for place, each in zip(doubted, better, strict=True):
                whole = _after(found[place].completion, each.completion)
                found[place] = each._replace(completion=whole, handed_over=True)
        return found

    def converse(self, talk: Callable[[Line], Awaitable[T]]) -> NoReturn:
        """Refused before a run."""
        raise UserError(
            "technique=cascade answers no requests that arrive at a rate: leave load out."
        )

    def language_model(self, done: Callable[[], None], reference: Seen | None) -> NoReturn:
        """Refused before a run: of a text, two models have two likelihoods."""
        raise UserError("technique=cascade answers in words alone: say task=answers.")

    def nearness(self) -> tuple[Seen | None, list[Nearness]]:
        """Not shown."""
        return None, []

    def footprint(self) -> Footprint:
        """Of both together."""
        one, other = self.small.footprint(), self.large.footprint()
        reason = one.reason or other.reason
        if one.bytes_by_dtype is None or other.bytes_by_dtype is None:
            held = None
        else:
            held = dict(Counter(one.bytes_by_dtype) + Counter(other.bytes_by_dtype))
        return Footprint(
            _sum(one.parameters, other.parameters), _sum(one.layers, other.layers), held, reason
        )

    def synchronize(self) -> None:
        """Both."""
        self.small.synchronize()
        self.large.synchronize()

    def reset_peaks(self) -> None:
        """Both."""
        self.small.reset_peaks()
        self.large.reset_peaks()

    def device_peak_bytes(self) -> int | None:
        """In one process both look at the same mark; servers have one each."""
        one, other = self.small.device_peak_bytes(), self.large.device_peak_bytes()
        if self.pids():
            return _sum(one, other)
        return one

    def pids(self) -> frozenset[int] | None:
        """Of both."""
        one, other = self.small.pids(), self.large.pids()
        return None if one is None or other is None else one | other


class Behind(NamedTuple):
    """What stands behind a small model."""

    build: Build
    """The large one."""
    rule: Rule


@contextmanager
def serve(engine: Engine, build: Build, machine: Machine) -> Iterator[Served]:
    """`build`, and what stands behind it, answering as one."""
    behind, answering = build.behind, engine.serve(build, machine)
    del build  # whoever holds it holds the model
    with answering as small:
        if behind is None:
            yield small
            return
        with engine.serve(behind.build, machine) as large:
            yield Cascade(small, large, behind.rule)


def _after(first: Completion, second: Completion) -> Completion:
    """The second's answer, which was waited for since the first was asked."""
    return second._replace(sent_s=first.sent_s)


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
