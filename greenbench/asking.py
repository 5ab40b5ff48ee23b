"""Both models answer the same questions: for quality, and by difficulty."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from greenbench import models
from greenbench.candidate import Candidate, Place, Progress
from greenbench.measure import difficulty
from greenbench.measure.pair import WHO, Pair
from greenbench.measure.windows import Recorder
from greenbench.quality import kept, scorer
from greenbench.quality.comparison import compare
from greenbench.quality.fidelity import Seen
from greenbench.quality.prompts import prompts
from greenbench.quality.scorer import Answers
from greenbench.records import Who
from greenbench.specs import RunSpec
from greenbench.task_scores import TaskScore


class Scored(NamedTuple):
    """Both models' answers, compared."""

    quality: list[TaskScore]
    baseline_scored_at: str | None
    """When an earlier run scored the baseline."""


def score(
    pair: Pair, place: Place, spec: RunSpec, recorder: Recorder, progress: Progress
) -> Scored:
    """Score both models on the same items; the baseline only where no earlier run did."""

    def answers(who: Who, reference: Seen | None = None) -> Answers:
        def half(done: int, total: int) -> None:
            progress("score", WHO.index(who) * total + done, 2 * total)

        with pair.use(who) as model, recorder.whole("score", who):
            return scorer.answers(model, place.tokenizer, spec.task, half, reference)

    file = kept.entry(_identity(spec, place))
    with kept.claimed(file):
        found = kept.read(file)
        before = found.answers if found else answers("baseline")
        if not found:
            kept.write(file, before)
    after = answers("candidate", before.seen)
    return Scored(compare(before, after), found.scored_at if found else None)


def _identity(spec: RunSpec, place: Place) -> dict[str, Any]:
    """All that the baseline's answers depend on, but for this process."""
    return {
        "model": models.fingerprint(place.path),
        "dtype": spec.model.dtype.value,
        "device": [place.machine.device, place.machine.device_name],
        "requests": scorer.content(spec.task),
    }


def ask(
    pair: Pair,
    candidate: Candidate,
    spec: RunSpec,
    quality: list[TaskScore],
    recorder: Recorder,
    apart: str | None,
    progress: Progress,
) -> difficulty.Asked | None:
    """Both models' answers to easy and hard questions; null for a stack that treats them alike.

    `apart` is why the models are measured in turn, if they are.
    """
    if not candidate.counted():
        return None
    if apart:
        return difficulty.Asked(f"the two models cannot take turns round by round: {apart}")
    return difficulty.ask(
        recorder,
        pair,
        quality,
        prompts(candidate.tokenizer, spec.task),
        spec.protocol,
        spec.seed,
        candidate.counted,
        partial(progress, "difficulty"),
    )
