"""Randomized blocks: each measures baseline and candidate once in each phase, in random order."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from greenbench.measure import summary
from greenbench.measure.windows import Recorder
from greenbench.measure.workloads import Iteration, Requests, generate
from greenbench.records import Phase, Stopping, Who, Window
from greenbench.specs import ProtocolSpec, Stop, WorkloadSpec

WHO: tuple[Who, ...] = ("baseline", "candidate")
PHASES: tuple[Phase, ...] = ("prefill", "generate")
STRIDE = 16  # blocks start this many requests apart, so that each block sees other prompts
Progress = Callable[[str, int, int], None]


def schedule(blocks: int, seed: int) -> list[list[tuple[Who, Phase]]]:
    """The seeded order of the windows in each block; more blocks only add to fewer."""
    dice = random.Random(seed)
    cells = [(who, phase) for who in WHO for phase in PHASES]
    return [dice.sample(cells, len(cells)) for _ in range(blocks)]


def measure(
    recorder: Recorder,
    models: Mapping[Who, Any],
    requests: Requests,
    workload: WorkloadSpec,
    protocol: ProtocolSpec,
    order: list[list[tuple[Who, Phase]]],
    progress: Progress,
) -> Stopping:
    """Take the windows of `order`, block by block, until the headline ratio is known well enough.

    Both models meet the same prompts in the same block.
    """
    for block, cells in enumerate(order):
        for position, (who, phase) in enumerate(cells):
            progress("measure", block * len(cells) + position, len(order) * len(cells))
            new_tokens = 1 if phase == "prefill" else workload.output_tokens
            recorder.repeat(
                phase,
                who,
                partial(_request, models[who], requests, block * STRIDE, new_tokens, workload.stop),
                window_s=protocol.window_s,
                min_iterations=protocol.min_iterations,
                block=block,
                position=position,
            )
        if block + 1 >= protocol.blocks:
            state = stopping(recorder.windows, protocol)
            if state.reached:
                break
    progress("measure", 1, 1)
    return state


def stopping(windows: Sequence[Window], protocol: ProtocolSpec) -> Stopping:
    """Whether the headline ratio is known to the target: energy, or speed where that is estimated."""
    blocks = summary.valid_blocks(windows)
    ratios = summary.ratios(blocks, "no meter answered")
    measured = ratios["energy_per_token"].provenance.startswith("measured")
    metric = "energy_per_token" if measured else "tokens_per_s"
    ratio = ratios[metric]
    known = ratio.value is not None and ratio.low is not None and ratio.high is not None
    half = (ratio.high - ratio.low) / 2 / ratio.value if known else None  # type: ignore[operator]
    return Stopping(
        metric=metric,
        target_half_width=protocol.target_half_width,
        half_width=half,
        reached=half is not None and half <= protocol.target_half_width,
        blocks=len({window.block for window in blocks}),
        limit=protocol.max_blocks,
    )


def _request(
    model: Any, requests: Requests, first: int, new_tokens: int, stop: Stop, index: int
) -> Iteration:
    return generate(model, requests.batch(first + index), new_tokens, stop)
