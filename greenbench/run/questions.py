"""Both models answer the same questions: for quality, and by difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from greenbench.analysis.difficulty import Asked
from greenbench.engines.engine import Engine
from greenbench.engines.query import Seen
from greenbench.measure import difficulty
from greenbench.measure.pair import Pair
from greenbench.measure.recorder import Recorder
from greenbench.measure.schedule import Progress
from greenbench.models import files, inputs
from greenbench.quality import baseline_cache
from greenbench.quality.answers import Answers
from greenbench.quality.compare import NEITHER, compare
from greenbench.quality.prompts import prompts
from greenbench.quality.score import answers as answers_of
from greenbench.quality.score import content
from greenbench.quality.tasks import IN_WORDS, kinds
from greenbench.run.prepare import Candidate
from greenbench.run.workbench import Place
from greenbench.schema.quality import TaskScore
from greenbench.schema.spec import RunSpec
from greenbench.schema.window import WHO, Who


class Scored(NamedTuple):
    """Both models' answers, compared."""

    quality: list[TaskScore]
    baseline_scored_at: str | None
    """When an earlier run scored the baseline."""
    unscored: dict[str, str]
    """Why a task was not scored, by its name."""


def score(
    pair: Pair,
    place: Place,
    engines: Mapping[Who, Engine],
    spec: RunSpec,
    recorder: Recorder,
    progress: Progress,
) -> Scored:
    """Score both models on the same items, each through its engine; the baseline where no earlier run did."""

    if kinds(spec.task) <= {IN_WORDS}:
        return Scored([], None, {})

    def answers(who: Who, reference: Seen | None = None) -> Answers:
        def half(done: int, total: int) -> None:
            progress("score", WHO.index(who) * total + done, 2 * total)

        with pair.use(who) as served, recorder.whole("score", who, served):
            return answers_of(served, spec.task, half, reference)

    if "url" in engines["baseline"].forms:  # whose weights may be others by the next run
        return _compared(answers("baseline"), answers("candidate"), engines, None)
    file = baseline_cache.entry(_identity(spec, place, engines["baseline"]))
    with baseline_cache.claimed(file):
        found = baseline_cache.read(file)
        before = found.answers if found else answers("baseline")
        if (
            not found and files.fingerprint(spec.model) == place.fingerprint
        ):  # else: whose are they?
            baseline_cache.write(file, before)
    after = answers("candidate", before.seen)
    return _compared(before, after, engines, found.scored_at if found else None)


def _compared(
    before: Answers, after: Answers, engines: Mapping[Who, Engine], scored_at: str | None
) -> Scored:
    """On the tasks that both engines can score."""
    unscored = {**before.unscored, **after.unscored}
    one, other = (
        each._replace(tasks=[task for task in each.tasks if task.task not in unscored])
        for each in (before, after)
    )
    return Scored(compare(one, other, _no_logits(engines)), scored_at, unscored)


def _no_logits(engines: Mapping[Who, Engine]) -> str:
    """Why whole texts may not have been compared."""
    blind = [each.name for each in engines.values() if "logits" not in each.abilities]
    return f"engine={blind[0]} does not show the logits of whole texts" if blind else NEITHER


def _identity(spec: RunSpec, place: Place, engine: Engine) -> dict[str, Any]:
    """All that the baseline's answers through `engine` depend on, but for this process."""
    return {
        "model": place.fingerprint,
        "dtype": spec.model.dtype.value,
        "device": [place.machine.device, place.machine.device_name],
        "engine": [engine.name, engine.version(), repr(engine), inputs.plugins(engine)],
        "requests": content(spec.task),
        "chat_template": spec.task.chat_template,
    }


def ask(
    pair: Pair,
    candidate: Candidate,
    spec: RunSpec,
    quality: list[TaskScore],
    recorder: Recorder,
    apart: str | None,
    progress: Progress,
) -> Asked | None:
    """Both models' answers to easy and hard questions; null for a stack that treats them alike.

    `apart` is why the models are measured in turn, if they are.
    """
    if not candidate.counted():
        return None
    if apart:
        return Asked(f"the two models cannot take turns round by round: {apart}")
    with pair.use("baseline") as served:
        texts = prompts(served.tokenizer, spec.task)
    return difficulty.ask(
        recorder,
        pair,
        quality,
        texts,
        spec.protocol,
        spec.seed,
        candidate.counted,
        partial(progress, "difficulty"),
    )
