"""Randomized blocks: each measures baseline and candidate once in each phase, in random order."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from greenbench.measure.windows import Recorder
from greenbench.measure.workloads import Iteration, Requests, generate
from greenbench.records import Phase, Who
from greenbench.specs import ProtocolSpec, WorkloadSpec

WHO: tuple[Who, ...] = ("baseline", "candidate")
STRIDE = 16  # blocks start this many requests apart, so that each block sees other prompts
PHASES: tuple[Phase, ...] = ("prefill", "generate")
Progress = Callable[[str, int, int], None]


def schedule(blocks: int, seed: int) -> list[list[tuple[Who, Phase]]]:
    """The seeded order of the windows in each block."""
    dice = random.Random(seed)
    cells = [(who, phase) for who in WHO for phase in PHASES]
    return [dice.sample(cells, len(cells)) for _ in range(blocks)]


def _request(model: Any, requests: Requests, first: int, new_tokens: int, index: int) -> Iteration:
    return generate(model, requests.batch(first + index), new_tokens)


def warm_up(
    models: Mapping[Who, Any], requests: Requests, workload: WorkloadSpec, seconds: float
) -> None:
    """Run each model's requests for at least `seconds`, unmetered."""
    for who in WHO:
        start, index = time.monotonic(), 0
        while index == 0 or time.monotonic() - start < seconds:
            generate(models[who], requests.batch(index), workload.output_tokens)
            index += 1


def measure(
    recorder: Recorder,
    models: Mapping[Who, Any],
    requests: Requests,
    workload: WorkloadSpec,
    protocol: ProtocolSpec,
    order: list[list[tuple[Who, Phase]]],
    progress: Progress,
) -> None:
    """Take every window of `order`. Both models meet the same prompts in the same block."""
    new_tokens = {"prefill": 1, "generate": workload.output_tokens}
    total = sum(len(cells) for cells in order)
    for block, cells in enumerate(order):
        for position, (who, phase) in enumerate(cells):
            progress("measure", block * len(cells) + position, total)
            recorder.repeat(
                phase,
                who,
                partial(_request, models[who], requests, block * STRIDE, new_tokens[phase]),
                window_s=protocol.window_s,
                min_iterations=protocol.min_iterations,
                block=block,
                position=position,
            )
    progress("measure", total, total)
