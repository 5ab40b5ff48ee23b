"""How long the prompts and answers of a load are."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from math import exp, log
from typing import NamedTuple

from greenbench.measure.request_traces import RequestTrace
from greenbench.schema.enums import Lengths
from greenbench.schema.load_spec import LoadSpec
from greenbench.schema.spec import WorkloadSpec

TIMES = 4
"""The longest is so many times as long as the middle one: a server must hold the longest, and a window's
energy should not hang on one."""
LEAST_ANSWER = 2
"""Tokens; time per output token needs two."""


class Length(NamedTuple):
    """Tokens of one request."""

    prompt: int
    """Of all its prompt, the frame included."""
    answer: int


def middle(workload: WorkloadSpec, load: LoadSpec, trace: RequestTrace | None) -> Length:
    """What half of the requests are longer than: the workload's, or the trace's where that has them."""
    if load.lengths is Lengths.trace and trace is not None:
        return Length(trace.median_prompt, trace.median_output)
    return Length(workload.prompt_tokens, workload.output_tokens)


def longest(workload: WorkloadSpec, load: LoadSpec, trace: RequestTrace | None = None) -> Length:
    """The longest request that the load can ask for, if the model takes it."""
    most = middle(workload, load, trace)
    if load.lengths is Lengths.fixed:
        return most
    prompt, answer = TIMES * most.prompt, TIMES * most.answer
    if load.lengths is Lengths.texts:
        answer = most.answer
    if load.lengths is Lengths.trace and trace is not None:
        prompt = min(prompt, max(row.prompt_tokens for row in trace.rows))
        answer = min(answer, max(row.output_tokens for row in trace.rows))
    # The floors of `clipped` hold for the longest as well.
    return Length(max(prompt, workload.prompt_tokens), max(answer, LEAST_ANSWER))


def clipped(wanted: Length, most: Length, frame: int, max_tokens: int | None) -> Length:
    """As near to `wanted` as `most`, the `frame` of each prompt and the model's `max_tokens` allow."""
    prompt = max(min(wanted.prompt, most.prompt), frame + 1)
    answer = max(min(wanted.answer, most.answer), LEAST_ANSWER)
    if max_tokens is not None:
        answer = max(min(answer, max_tokens - frame - 1), LEAST_ANSWER)
        prompt = max(min(prompt, max_tokens - answer), frame + 1)
    return Length(prompt, answer)


def lognormal(median: Length, spread: float, dice: random.Random) -> Iterator[Length]:
    """Of prompts and answers apart, each around its median."""
    while True:
        yield Length(*(round(exp(dice.gauss(log(tokens), spread))) for tokens in median))


def of_texts(texts: Iterable[list[int]], frame: int, answer: int) -> Iterator[Length]:
    """Prompts as long as `texts`, answers all alike."""
    return (Length(frame + len(text), answer) for text in texts)
