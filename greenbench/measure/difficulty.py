"""Answers to easy, medium and hard questions, metered apart: dynamic inference should make easy ones cheap.

Difficulty is the baseline's margin between its two best choices. Scoring runs all blocks whatever the
technique, so the cost of a question is that of an answer generated after its prompt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from typing import NamedTuple

from greenbench.analysis.counts import Counts, added
from greenbench.analysis.difficulty import BINS, NEW_TOKENS, Asked, thirds
from greenbench.engines.engine import Completion, Request, Served
from greenbench.measure.pair import Pair
from greenbench.measure.recorder import Recorder
from greenbench.measure.requests import seconds_of
from greenbench.schema.difficulty import Bin
from greenbench.schema.quality import TaskScore
from greenbench.schema.spec import ProtocolSpec
from greenbench.schema.window import WHO, Place, Who

SPARE = 1.1  # windows are planned so much longer than they must be, as questions differ
LONGEST = 4.0  # ... and never longer than so many for the slower model, if the faster one's are valid then
Prompt = Sequence[int]


class Cell(NamedTuple):
    """One window to take."""

    round: int
    position: int
    bin: Bin
    who: Who


def ask(
    recorder: Recorder,
    pair: Pair,
    quality: Sequence[TaskScore],
    prompts: Mapping[tuple[str, int], Prompt],
    protocol: ProtocolSpec,
    seed: int,
    observed: Callable[[], Mapping[str, Counts]],
    progress: Callable[[int, int], None],
) -> Asked:
    """Take answer windows: ``protocol.blocks`` rounds of each third and model in random order.

    In one round both models answer the same questions with the same number of tokens, so that a
    ratio compares equal work; the next round goes on where it ended. `observed` gives what the
    techniques have counted so far.
    """
    questions = thirds(quality)
    if not all(questions.values()):
        return Asked("too few items have choices to tell easy questions from hard ones")
    dice = random.Random(seed)
    texts = {
        name: [prompts[question.key] for question in dice.sample(third, len(third))]
        for name, third in questions.items()
    }
    answers = {name: _answers(pair, texts[name], protocol, recorder.shortest_s) for name in BINS}
    shown: dict[Bin, list[Counts]] = {name: [] for name in BINS}
    cells = schedule(protocol.blocks, dice)
    for done, (number, position, name, who) in enumerate(cells):
        progress(done, len(cells))
        with pair.use(who) as served:
            work = partial(_answer, served, texts[name], number * answers[name])
            recorder.repeat(
                "answer",
                who,
                served,
                partial(_watched, work, observed, shown[name]) if who == "candidate" else work,
                window_s=protocol.window_s,
                exactly=answers[name],
                place=Place(series="round", unit=number, position=position, bin=name),
            )
    lengths = {name: sum(map(len, third)) / len(third) for name, third in texts.items()}
    return Asked(None, questions, lengths, answers, shown)


def schedule(rounds: int, dice: random.Random) -> list[Cell]:
    """Every third and model once in each round, in random order."""
    cells = [(name, who) for name in BINS for who in WHO]
    return [
        Cell(number, position, name, who)
        for number in range(rounds)
        for position, (name, who) in enumerate(dice.sample(cells, len(cells)))
    ]


def _watched(
    work: Callable[[int], list[Completion]],
    observed: Callable[[], Mapping[str, Counts]],
    shown: list[Counts],
    index: int,
) -> list[Completion]:
    """One answer, and what the techniques counted meanwhile."""
    before = observed()
    done = work(index)
    shown.append(added(before, observed()))
    return done


def _answers(pair: Pair, texts: Sequence[Prompt], protocol: ProtocolSpec, shortest_s: float) -> int:
    """How many answers fill a window of the faster model: half a window of each, unmetered, tells.

    The first answer tells nothing: it may have compiled. However slow the other model, the faster
    one's windows are of `shortest_s` at least: shorter ones would be invalid.
    """
    seconds = []
    for who in WHO:
        with pair.use(who) as served:
            _answer(served, texts, 0, 0)
            spent: list[float] = []
            while sum(spent) < protocol.window_s / 2 or not spent:
                spent.append(seconds_of(_answer(served, texts, 0, len(spent))))
        seconds.append(sum(spent) / len(spent))
    enough = ceil(SPARE * protocol.window_s / min(seconds))
    bearable = int(LONGEST * protocol.window_s / max(seconds))
    needed = ceil(SPARE * shortest_s / min(seconds))
    return max(min(enough, bearable), needed, protocol.min_iterations)


def _answer(served: Served, texts: Sequence[Prompt], first: int, index: int) -> list[Completion]:
    """The next question's, the prompt cut from the left to the model's length as in scoring."""
    prompt = texts[(first + index) % len(texts)]
    if served.max_tokens is not None:
        prompt = prompt[NEW_TOKENS - served.max_tokens :]
    return served.complete([Request(tuple(prompt), NEW_TOKENS)])
