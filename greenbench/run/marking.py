"""The run's questions that are answered in words: asked, metered, graded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from greenbench.analysis.solved import Graded
from greenbench.engines.writing import Draw, Written, after_thoughts, markers
from greenbench.measure.pair import Pair
from greenbench.measure.recorder import Recorder
from greenbench.measure.solve import Answered, solve
from greenbench.quality.answers import Answers, TaskAnswers
from greenbench.quality.compare import compare
from greenbench.quality.generated import Exam, Grades, exams, grades
from greenbench.quality.tasks import IN_WORDS, kinds
from greenbench.run.workbench import Progress
from greenbench.schema.enums import Sampling
from greenbench.schema.quality import TaskScore
from greenbench.schema.solved import Reply
from greenbench.schema.spec import RunSpec
from greenbench.schema.window import WHO, Who

NO_FIDELITY = "its answers are neither choices nor whole texts"


class Marked(NamedTuple):
    """Graded answers, and their scores as quality."""

    graded: list[Graded]
    quality: list[TaskScore]


def mark(
    pair: Pair,
    spec: RunSpec,
    directory: Path,
    recorder: Recorder,
    apart: str | None,
    progress: Progress,
) -> Marked:
    """Ask both models the questions of every task that is answered in words; nothing where there is none.

    `directory` holds the plain model's files. `apart` is why the models are measured in turn, if they are.
    """
    drawn = _drawing(directory) if spec.task.sampling is Sampling.model else None
    if IN_WORDS not in kinds(spec.task):
        return Marked([], [])
    posed: dict[Who, list[Exam]] = {}
    for who in WHO:  # a technique may have one of them asked otherwise
        with pair.use(who) as served:
            marker = markers(served.tokenizer.template)
            posed[who] = exams(
                spec.task, served.tokenizer, served.max_tokens, partial(_draw, drawn, spec)
            )
    asked = posed["baseline"]
    answered = solve(
        recorder,
        pair,
        {who: {exam.task: exam.asks for exam in posed[who]} for who in WHO},
        spec.workload.batch_size,
        spec.seed,
        partial(progress, "solve"),
        apart=apart is not None,
    )
    spoken = {
        who: {
            exam.task: [_spoken(each, marker) for each in answered[exam.task].written[who]]
            for exam in asked
        }
        for who in WHO
    }
    found = {who: grades(spec.task, spoken[who]) for who in WHO}
    how = "greedy" if drawn is None else ", ".join(f"{k} {v:g}" for k, v in drawn.items())
    graded = [
        _graded(exam, answered[exam.task], {who: found[who][exam.task] for who in WHO}, how)
        for exam in asked
    ]
    return Marked(graded, _quality(asked, graded))


def _spoken(written: Written, marker: tuple[str, str] | None) -> str:
    """What is graded: what comes after the thoughts."""
    if marker is None or not written.thought_tokens:
        return written.text
    return after_thoughts(written.text, marker[1])


def _drawing(directory: Path) -> dict[str, float] | None:
    """How the model's own configuration draws tokens; null where it takes the likeliest."""
    known: dict[str, object] = {}
    with suppress(OSError, ValueError):
        known = dict(json.loads((directory / "generation_config.json").read_text()))
    if not known.get("do_sample"):
        return None
    usual = {"temperature": 1.0, "top_p": 1.0, "top_k": 50}  # transformers' own
    return {name: float(str(known.get(name) or value)) for name, value in usual.items()}


def _draw(drawn: dict[str, float] | None, spec: RunSpec, item: int) -> Draw | None:
    if drawn is None:
        return None
    seed = (spec.seed * 1_000_003 + item) % 2**31
    return Draw(drawn["temperature"], drawn["top_p"], int(drawn["top_k"]), seed)


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
