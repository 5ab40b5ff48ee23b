"""Questions that are answered in words: both models answer the same ones, in groups, each group metered."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import ceil
from typing import NamedTuple

from greenbench.engines.engine import Completion, Served
from greenbench.engines.writing import Ask, Written
from greenbench.measure.pair import Pair
from greenbench.measure.recorder import Recorder
from greenbench.measure.requests import seconds_of
from greenbench.schema.window import WHO, Place, Who

GROUPS = 20
"""Of a task's items, where the meter's ticks leave room: the interval is of groups."""
SPARE = 1.1
"""Groups are planned so much longer than their windows must be, as questions differ."""
Progress = Callable[[int, int], None]
Asks = Mapping[str, Sequence[Ask]]
"""By task, its questions in the order of its items."""


class Cell(NamedTuple):
    """One window to take."""

    task: str
    group: int
    position: int
    places: Sequence[int]
    who: Who


class Answered(NamedTuple):
    """What both models answered to a task's questions."""

    groups: tuple[int, ...]
    """Of each item, the group that it was asked in; counted over all tasks."""
    written: Mapping[Who, Sequence[Written]]


def solve(
    recorder: Recorder,
    pair: Pair,
    asks: Mapping[Who, Asks],
    at_once: int,
    seed: int,
    progress: Progress,
    *,
    apart: bool,
    about: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Answered]:
    """Ask each model its `asks`, of the same items, so many `at_once`.

    In each group both are asked in random order; the candidate between two halves of the baseline's where
    they are measured `apart`. `about`: by task, what each item is about; null: each something else.
    """
    items = {task: len(questions) for task, questions in asks["baseline"].items()}
    size = _sizes(recorder, pair, asks, at_once)
    groups_of = [
        (task, places)
        for task, count in items.items()
        for places in parted(about[task] if about else [*map(str, range(count))], size[task])
    ]
    cells = list(schedule(groups_of, random.Random(seed), apart=apart))
    groups: dict[str, dict[int, int]] = {task: {} for task in items}
    written: dict[tuple[str, Who], dict[int, Written]] = {
        (task, who): {} for task in items for who in WHO
    }
    for done, cell in enumerate(cells):
        progress(done, len(cells))
        batches = in_batches(cell.places, at_once)
        with pair.use(cell.who) as served:
            mine = asks[cell.who][cell.task]
            work = partial(_answer, served, mine, batches, written[cell.task, cell.who])
            recorder.repeat(
                "solve",
                cell.who,
                served,
                work,
                window_s=0.0,
                exactly=len(batches),
                place=Place(
                    series="group", unit=cell.group, position=cell.position, task=cell.task
                ),
            )
        groups[cell.task].update(dict.fromkeys(cell.places, cell.group))
    return {
        task: Answered(
            tuple(groups[task][place] for place in range(count)),
            {who: [written[task, who][place] for place in range(count)] for who in WHO},
        )
        for task, count in items.items()
    }


def _answer(
    served: Served,
    asks: Sequence[Ask],
    batches: Sequence[Sequence[int]],
    written: dict[int, Written],
    index: int,
) -> list[Completion]:
    """One batch of a group."""
    answers = served.write([asks[place] for place in batches[index]])
    written.update(zip(batches[index], answers, strict=True))
    return [answer.completion for answer in answers]


def parted(about: Sequence[str], size: int) -> list[list[int]]:
    """Places of items in even groups of at most `size`, or somewhat more where items about the same thing,
    which are one observation, would stand in two."""
    together: dict[str, list[int]] = {}
    for place, each in enumerate(about):
        together.setdefault(each, []).append(place)
    many = len(about)
    count = ceil(many / size)
    edges = [many * number // count for number in range(1, count + 1)]
    groups: list[list[int]] = []
    taken, end = 0, 0
    for places in together.values():
        if taken >= end:
            groups.append([])
            end = next(edge for edge in edges if edge > taken)
        groups[-1] += places
        taken += len(places)
    return groups


def schedule(
    groups: Sequence[tuple[str, Sequence[int]]], dice: random.Random, *, apart: bool
) -> Iterator[Cell]:
    """Every group of every task, for each model once.

    Where they are measured `apart`, the baseline has half of them before the candidate and half after it, so
    that what changes evenly meanwhile changes both alike.
    """
    if apart:
        numbered = list(enumerate(groups))
        turns: list[tuple[Who, list[tuple[int, tuple[str, Sequence[int]]]]]] = [
            ("baseline", numbered[::2]),
            ("candidate", numbered),
            ("baseline", numbered[1::2]),
        ]
        for position, (who, mine) in enumerate(turns):
            for number, (task, places) in mine:
                yield Cell(task, number, position, places, who)
        return
    for number, (task, places) in enumerate(groups):
        for position, who in enumerate(dice.sample(WHO, len(WHO))):
            yield Cell(task, number, position, places, who)


def in_batches(places: Sequence[int], at_once: int) -> list[Sequence[int]]:
    """`places`, so many at once, in order."""
    return [places[first : first + at_once] for first in range(0, len(places), at_once)]


def _sizes(
    recorder: Recorder, pair: Pair, asks: Mapping[Who, Asks], at_once: int
) -> dict[str, int]:
    """Items of a group, by task: of `GROUPS` groups, or so many that the meter's ticks can tell.

    Two batches of each task, unmetered, tell how long the faster model takes. The first has the longest
    questions, so that what is made once (compiled for a length, of stop strings) is made then.
    """
    sizes: dict[str, int] = {}
    seconds: dict[str, list[float]] = {task: [] for task in asks["baseline"]}
    for who in WHO:
        with pair.use(who) as served:
            for task, questions in asks[who].items():
                served.write(sorted(questions, key=lambda ask: -len(ask.tokens))[:at_once])
                done = served.write(questions[:at_once])
                seconds[task].append(seconds_of([answer.completion for answer in done]))
    for task, questions in asks["baseline"].items():
        batches = ceil(SPARE * recorder.shortest_s / min(seconds[task]))
        shared = ceil(len(questions) / GROUPS / at_once)
        sizes[task] = at_once * max(batches, shared, 1)
    return sizes
