"""A small model before the run's own, and how sure it must be, found on held-back items."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import binom

from greenbench.engines.cascade import Behind, Rule, surety
from greenbench.engines.engine import Build, Served
from greenbench.engines.writing import Written
from greenbench.measure.solve import in_batches
from greenbench.models import files
from greenbench.quality.generated import Exam, exams, grades
from greenbench.run.posing import drawing, spoken
from greenbench.run.probe import expectation
from greenbench.run.same_tokens import require_one_vocabulary
from greenbench.run.workbench import Place
from greenbench.schema.spec import ModelSpec, RunSpec, TaskSpec
from greenbench.techniques.handover import Handover, Trust
from greenbench.techniques.technique import Preparation

CANDIDATES = tuple(hundredth / 100 for hundredth in range(99, -1, -1))
"""Thresholds that are tried, most cautious first. They look at no data, which the tests are valid for."""


class Tried(NamedTuple):
    """What one held-back item says."""

    confidence: float
    """Of the small model."""
    worse: bool
    """Whether its answer is worse than the large model's."""


class Found(NamedTuple):
    """The boldest threshold that keeps to the risk."""

    threshold: float
    """Infinite: none does, and everything is handed over."""
    kept: int
    """Held-back items whose answer of the small model is kept at it."""
    worse: int
    """Of those, the ones that are worse."""


def handed_over(
    technique: Handover,
    build: Build,
    place: Place,
    spec: RunSpec,
    work: Preparation,
    known: float | None,
) -> Build:
    """`build`, or the technique's own small model, with the run's plain one behind it.

    `known` is the threshold that was found when it was made before; null: it is made for the first time.
    """
    own, trust = technique.small(), technique.trust()
    small = build if own is None else _of_its_own(own, place)
    threshold = known if trust.threshold is None else trust.threshold
    if threshold is None:
        threshold = _settled(trust, small, place, spec, work)
    work.details["threshold"] = (
        threshold if math.isfinite(threshold) else "above 1: all is handed over"
    )
    return replace(small, behind=Behind(place.base, Rule(threshold, work.observed)))


def _of_its_own(known: ModelSpec, place: Place) -> Build:
    """The plain small model, in the dtype of the large one."""
    path = files.directory(known)
    known = replace(known, dtype=place.base.model.dtype)
    place.engine.check_model(known, path, place.machine)
    build = replace(place.base, model=known, form="safetensors", source=path, directory=path)
    require_one_vocabulary("technique.cascade.path", build, place.base)
    if place.engine.compiles():
        build = replace(build, uncompiled=place.engine.obstacle(known))
    return replace(build, expected=expectation(build, place.engine, place.machine))


def _settled(trust: Trust, small: Build, place: Place, spec: RunSpec, work: Preparation) -> float:
    """The threshold, by what both answer to items that are not among those of the run."""
    engine, machine = place.engine, place.machine
    with engine.serve(small, machine) as first, engine.serve(place.base, machine) as second:
        tried = _tried(trust, first, second, spec, place.base.directory, work)
    found = boldest(tried, trust.risk, trust.delta)
    work.details.update(
        held_back_items=len(tried), kept_of_them=found.kept, worse_of_them=found.worse
    )
    return found.threshold


def _tried(
    trust: Trust,
    small: Served,
    large: Served,
    spec: RunSpec,
    directory: Path,
    work: Preparation,
) -> list[Tried]:
    more = replace(spec.task, items=spec.task.items + trust.items)
    draw = drawing(spec, directory)
    asked = exams(more, large.tokenizer, large.max_tokens, draw)
    run = {each.task: each for each in exams(spec.task, large.tokenizer, large.max_tokens, draw)}
    places = {exam.task: _held_back(exam, run[exam.task]) for exam in asked}
    total = sum(map(len, places.values()))
    trust.require(total)
    said: dict[str, dict[str, list[Written]]] = {}
    done = 0
    for exam in asked:
        said[exam.task] = {"small": [], "large": []}
        for batch in in_batches(places[exam.task], spec.workload.batch_size):
            asks = [exam.asks[each] for each in batch]
            said[exam.task]["small"] += small.write([ask._replace(sure=True) for ask in asks])
            said[exam.task]["large"] += large.write(asks)
            done += len(batch)
            work.progress(done, total)
    values = {
        who: _values(more, asked, places, {task: each[who] for task, each in said.items()}, large)
        for who in ("small", "large")
    }
    sure = [surety(each.completion) for exam in asked for each in said[exam.task]["small"]]
    return [
        Tried(confidence, worse=one < other)
        for confidence, one, other in zip(sure, values["small"], values["large"], strict=True)
    ]


def _held_back(more: Exam, run: Exam) -> list[int]:
    """Places in `more` of items that the run does not ask, nor others about the same; of those about the
    same, which are one observation, the first."""
    asked, about = set(run.indices), set(run.documents)
    found = []
    for place, (index, document) in enumerate(zip(more.indices, more.documents, strict=True)):
        if index not in asked and document not in about:
            found.append(place)
            about.add(document)
    return found


def _values(
    spec: TaskSpec,
    asked: Sequence[Exam],
    places: Mapping[str, Sequence[int]],
    said: Mapping[str, Sequence[Written]],
    large: Served,
) -> list[float]:
    """How good each answer to a held-back item is, task by task: more is better."""
    texts: dict[str, list[str]] = {}
    for exam in asked:
        texts[exam.task] = [""] * len(exam.indices)  # of items that are the run's nothing is known
        for place, written in zip(places[exam.task], said[exam.task], strict=True):
            texts[exam.task][place] = spoken(written, large.tokenizer.template)
    found: Any = grades(spec, texts)
    return [
        (1 if exam.higher_is_better else -1) * found[exam.task][place][exam.filter][exam.metric]
        for exam in asked
        for place in places[exam.task]
    ]


def boldest(tried: Sequence[Tried], risk: float, delta: float) -> Found:
    """Thresholds are tested one after another, most cautious first, by the binomial tail, until one fails.

    With probability 1 - `delta` or more, at most the share `risk` of all items is worse at the last that
    passed (learn then test with a fixed sequence, Angelopoulos et al., 2021, arXiv 2110.01052, section 4.2).
    """
    found = Found(math.inf, 0, 0)
    for threshold in CANDIDATES:
        kept = [each for each in tried if each.confidence >= threshold]
        worse = sum(each.worse for each in kept)
        if binom.cdf(worse, len(tried), risk) > delta:
            break
        found = Found(threshold, len(kept), worse)
    return found
