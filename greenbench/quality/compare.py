"""Two models' answers to the same items, compared."""

from __future__ import annotations

import math
from collections.abc import Sequence

from greenbench.analysis.accuracy import compared, scored
from greenbench.engines.query import Nearness
from greenbench.quality.answers import Answers, Choice, TaskAnswers
from greenbench.schema.quality import Fidelity, Item, TaskScore
from greenbench.stats.intervals import Interval, ratio_of_sums
from greenbench.stats.items import level

NEITHER = "its answers are neither choices nor whole texts"


def compare(baseline: Answers, candidate: Answers, no_logits: str = NEITHER) -> list[TaskScore]:
    """Levels of both models and the change between them, paired by item, task by task.

    `no_logits` says why whole texts are not compared where they are not. Raises ValueError where the
    two were not asked the same items.
    """
    pairs = zip(baseline.tasks, candidate.tasks, strict=True)
    return [_compare(before, after, candidate.nearness, no_logits) for before, after in pairs]


def _compare(
    before: TaskAnswers, after: TaskAnswers, nearness: Sequence[Nearness], no_logits: str
) -> TaskScore:
    if (before.task, before.indices, before.weights) != (after.task, after.indices, after.weights):
        raise ValueError(f"{before.task}: baseline and candidate were not asked the same items")
    sure = [_margin(choices) for choices in before.choices]
    columns = (before.indices, before.values, after.values, before.weights, before.documents, sure)
    near = _on_choices(before.choices, after.choices) or _on_text(
        [text for text in nearness if text.task == before.task]
    )
    items = [
        Item(
            index=i,
            baseline=b,
            candidate=c,
            weight=w,
            margin=m,
            document=d if d != str(i) else None,
        )
        for i, b, c, w, d, m in zip(*columns, strict=True)
    ]
    return TaskScore(
        task=before.task,
        metric=before.metric,
        higher_is_better=before.higher_is_better,
        filter=before.filter,
        split=before.split,
        items=items,
        fidelity=near,
        fidelity_reason=None if near else no_logits,
        **compared(before.metric, items),
    )


def _on_choices(
    before: Sequence[Sequence[Choice]], after: Sequence[Sequence[Choice]]
) -> Fidelity | None:
    """Of the distributions over each question's choices, and of the answers chosen."""
    if not all(before):
        return None
    pairs = list(zip(before, after, strict=True))
    apart = [_divergence(one, other) for one, other in pairs]
    same = [float(_answer(one) == _answer(other)) for one, other in pairs]
    ones = [1.0] * len(pairs)
    return _fidelity("item", ratio_of_sums(apart, ones), level(same, ones))


def _on_text(texts: Sequence[Nearness]) -> Fidelity | None:
    """Of the distributions over the vocabulary, and of the likeliest tokens; n counts texts."""
    if not texts:
        return None
    positions = [float(text.positions) for text in texts]
    apart = ratio_of_sums([text.divergence for text in texts], positions)
    same = ratio_of_sums([text.agreements for text in texts], positions)
    return _fidelity("token", apart, same)


def _fidelity(per: str, apart: Interval, same: Interval) -> Fidelity:
    low = None if apart.low is None else max(0.0, apart.low)
    high = None if same.high is None else min(1.0, same.high)
    return Fidelity(
        divergence=scored(apart._replace(low=low), f"nat/{per}"),
        agreement=scored(same._replace(high=high), "fraction"),
    )


def _divergence(before: Sequence[Choice], after: Sequence[Choice]) -> float:
    """KL(baseline || candidate) over the choices, in nats."""
    p, q = _log_shares(before), _log_shares(after)
    return max(0.0, sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True)))


def _log_shares(choices: Sequence[Choice]) -> list[float]:
    nats = [choice.log_likelihood for choice in choices]
    total = max(nats) + math.log(sum(math.exp(each - max(nats)) for each in nats))
    return [each - total for each in nats]


def _margin(choices: Sequence[Choice]) -> float | None:
    """The best choice's score less the second best's, to six digits; null without two."""
    *_, second, best = [None, None, *sorted(choice.score for choice in choices)]
    return None if best is None or second is None else float(f"{best - second:.6g}")


def _answer(choices: Sequence[Choice]) -> int:
    return max(range(len(choices)), key=lambda i: choices[i].score)
