"""Answers to easy, medium and hard questions, metered apart: dynamic inference should make easy ones cheap.

Difficulty is the baseline's margin between its two best choices. Scoring runs all blocks whatever the
technique, so the cost of a question is that of an answer generated after its prompt.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import ceil
from sys import maxsize
from typing import Any, Final, NamedTuple, get_args

import torch

from greenbench.difficulty import Bin
from greenbench.measure.pair import WHO, Pair
from greenbench.measure.windows import Recorder
from greenbench.measure.workloads import Iteration, generate
from greenbench.records import Who
from greenbench.specs import ProtocolSpec
from greenbench.task_scores import Item, TaskScore

BINS: Final[tuple[Bin, ...]] = get_args(Bin)
NEW_TOKENS: Final = 16
SPARE = 1.1  # windows are planned so much longer than they must be, as questions differ
LONGEST = 4.0  # ... and never longer than so many windows, for the slower model
Prompt = Sequence[int]
Counts = dict[str, Any]
"""What one technique counted: whole numbers, and mappings of them."""


class Question(NamedTuple):
    """An item with choices, and the baseline's margin between the best two."""

    score: TaskScore
    item: Item
    margin: float

    @property
    def key(self) -> tuple[str, int]:
        """Task, and place in its split."""
        return self.score.task, self.item.index

    @property
    def unit(self) -> str:
        """Of its margin."""
        return "nat/character" if self.score.metric == "acc_norm" else "nat"


class Cell(NamedTuple):
    """One window to take."""

    round: int
    position: int
    bin: Bin
    who: Who


class Asked(NamedTuple):
    """What was asked, and what the techniques counted meanwhile."""

    reason: str | None = None
    """Why nothing was."""
    questions: Mapping[Bin, Sequence[Question]] = {}
    prompt_tokens: Mapping[Bin, float] = {}
    """Mean over the questions."""
    answers: Mapping[Bin, int] = {}
    """In each window."""
    observed: Mapping[Bin, Sequence[Mapping[str, Counts]]] = {}
    """By technique, for each answer of the candidate: the questions in order, again and again."""


def thirds(quality: Sequence[TaskScore]) -> dict[Bin, list[Question]]:
    """Items with a margin, in thirds by its rank within their task: the widest are the easy ones.

    Ties are ranked by index. Where a task's items do not divide by 3, the outer thirds stay equal.
    """
    found: dict[Bin, list[Question]] = {name: [] for name in BINS}
    for score in sorted(quality, key=lambda score: score.task):
        known = [
            Question(score, item, item.margin) for item in score.items if item.margin is not None
        ]
        known.sort(key=lambda question: (-question.margin, question.item.index))
        for rank, question in enumerate(known):
            found[BINS[(6 * rank + 3) // (2 * len(known))]].append(question)
    return found


def ask(
    recorder: Recorder,
    models: Pair,
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
    answers = {name: _answers(models, texts[name], protocol) for name in BINS}
    shown: dict[Bin, list[Counts]] = {name: [] for name in BINS}
    cells = schedule(protocol.blocks, dice)
    for done, (number, position, name, who) in enumerate(cells):
        progress(done, len(cells))
        with models.use(who) as model:
            work = partial(_answer, model, texts[name], number * answers[name])
            recorder.repeat(
                "answer",
                who,
                partial(_watched, work, observed, shown[name]) if who == "candidate" else work,
                window_s=protocol.window_s,
                exactly=answers[name],
                round=number,
                position=position,
                bin=name,
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
    work: Callable[[int], Iteration],
    observed: Callable[[], Mapping[str, Counts]],
    shown: list[Counts],
    index: int,
) -> Iteration:
    """One answer, and what the techniques counted meanwhile."""
    before = observed()
    done = work(index)
    shown.append(added(before, observed()))
    return done


def added(before: Mapping[str, Any], after: Mapping[str, Any]) -> Counts:
    """What the counts in `after` have more than in `before`; all that is no whole number is left out."""
    found: Counts = {}
    for name, value in after.items():
        if isinstance(value, dict):
            found[name] = added(before.get(name, {}), value)
        elif isinstance(value, int):
            found[name] = value - before.get(name, 0)
    return found


def total(counts: Iterable[Mapping[str, Any]]) -> Counts:
    """The sum of what several windows added."""
    found: Counts = {}
    for each in counts:
        for name, value in each.items():
            if isinstance(value, dict):
                found[name] = total([found.get(name, {}), value])
            else:
                found[name] = found.get(name, 0) + value
    return found


def _answers(models: Pair, texts: Sequence[Prompt], protocol: ProtocolSpec) -> int:
    """How many answers fill a window of the faster model: half a window of each, unmetered, tells."""
    seconds = []
    for who in WHO:
        with models.use(who) as model:
            spent: list[float] = []
            while sum(spent) < protocol.window_s / 2 or not spent:
                spent.append(_answer(model, texts, 0, len(spent)).seconds)
        seconds.append(sum(spent) / len(spent))
    enough = ceil(SPARE * protocol.window_s / min(seconds))
    bearable = int(LONGEST * protocol.window_s / max(seconds))
    return max(min(enough, bearable), protocol.min_iterations)


def _answer(model: Any, texts: Sequence[Prompt], first: int, index: int) -> Iteration:
    """The next question's, the prompt cut from the left to the model's length as in scoring."""
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None) or maxsize
    prompt = texts[(first + index) % len(texts)][NEW_TOKENS - length :]
    return generate(model, torch.tensor([prompt]), NEW_TOKENS)
