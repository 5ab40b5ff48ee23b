"""The run's questions that are answered in words: asked, metered, graded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from greenbench.analysis.graded.replies import Graded
from greenbench.engines.engine import Served
from greenbench.measure.pair import Pair
from greenbench.measure.recorder import Recorder
from greenbench.measure.schedule import Progress
from greenbench.measure.solve import Answered, Asks, solve
from greenbench.quality.answers import Answers, TaskAnswers
from greenbench.quality.compare import compare
from greenbench.quality.generated import Exam, Grades, exams, grades
from greenbench.quality.tasks import IN_WORDS, kinds
from greenbench.run.posing import drawing, drawn, spoken
from greenbench.schema.quality import TaskScore
from greenbench.schema.solved import Reply
from greenbench.schema.spec import RunSpec
from greenbench.schema.window import WHO, Who

NO_FIDELITY = "its answers are neither choices nor whole texts"


class Marked(NamedTuple):
    """Graded answers, and their scores as quality."""

    graded: list[Graded]
    quality: list[TaskScore]


class Questions(NamedTuple):
    """Of every task that is answered in words."""

    of_baseline: list[Exam]
    """None without such tasks."""
    directory: Path
    """Of the plain model's files, which say how answers are drawn."""


def questions(served: Served, spec: RunSpec, directory: Path) -> Questions:
    """What the baseline that is `served` is asked. Raises UserError for what cannot be."""
    found = _posed(served, spec, directory) if IN_WORDS in kinds(spec.task) else []
    return Questions(found, directory)


def _posed(served: Served, spec: RunSpec, directory: Path) -> list[Exam]:
    draw = drawing(spec, directory)
    return exams(spec.task, served.tokenizer, served.max_tokens, draw)


def mark(
    pair: Pair,
    posed: Questions,
    spec: RunSpec,
    recorder: Recorder,
    apart: str | None,
    progress: Progress,
) -> Marked:
    """Ask both models the questions, which the baseline is `posed` so; nothing where there are none.

    `apart` is why the models are measured in turn, if they are.
    """
    asked, directory = posed
    if not asked:
        return Marked([], [])
    how = drawn(spec, directory)
    with pair.use("candidate") as served:  # a technique may have it asked otherwise
        template = served.tokenizer.template
        others = _posed(served, spec, directory)
    asks: dict[Who, Asks] = {
        "baseline": {exam.task: exam.asks for exam in asked},
        "candidate": {exam.task: exam.asks for exam in others},
    }
    answered = solve(
        recorder,
        pair,
        asks,
        spec.workload.batch_size,
        spec.seed,
        partial(progress, "solve"),
        apart=apart is not None,
        about={exam.task: exam.documents for exam in asked},
    )
    texts = {
        who: {
            exam.task: [spoken(each, template) for each in answered[exam.task].written[who]]
            for exam in asked
        }
        for who in WHO
    }
    found = {who: grades(spec.task, texts[who]) for who in WHO}
    sampling = "greedy" if how is None else ", ".join(f"{k} {v:g}" for k, v in how.items())
    graded = [
        _graded(exam, answered[exam.task], {who: found[who][exam.task] for who in WHO}, sampling)
        for exam in asked
    ]
    return Marked(graded, _quality(asked, graded))


def _graded(exam: Exam, answered: Answered, found: dict[Who, Sequence[Grades]], how: str) -> Graded:
    return Graded(
        task=exam.task,
        metric=exam.metric,
        filter=exam.filter,
        shots=exam.shots,
        chat=exam.chat,
        sampling=how,
        indices=exam.indices,
        documents=exam.documents,
        groups=answered.groups,
        replies={
            who: [
                Reply(
                    text=each.text,
                    tokens=each.completion.tokens,
                    thought_tokens=each.thought_tokens,
                    seconds=round(each.completion.seconds, 6),
                    energy_j=None,
                    cut=each.cut,
                    handed_over=each.handed_over,
                    grades=grade,
                )
                for each, grade in zip(answered.written[who], found[who], strict=True)
            ]
            for who in WHO
        },
        higher_is_better=exam.higher_is_better,
    )


def _quality(asked: Sequence[Exam], graded: Sequence[Graded]) -> list[TaskScore]:
    sides = [
        Answers([_answers(*each, who) for each in zip(asked, graded, strict=True)], None, [])
        for who in WHO
    ]
    return compare(sides[0], sides[1], NO_FIDELITY)


def _answers(exam: Exam, graded: Graded, who: Who) -> TaskAnswers:
    count = len(exam.indices)
    return TaskAnswers(
        task=exam.task,
        metric=exam.metric,
        higher_is_better=exam.higher_is_better,
        split=exam.split,
        indices=exam.indices,
        values=tuple(graded.value(who, place) for place in range(count)),
        weights=(1.0,) * count,
        documents=exam.documents,
        choices=((),) * count,
        filter=exam.filter,
    )
