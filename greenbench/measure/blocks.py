"""Randomized blocks: each measures baseline and candidate once in each phase, in random order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from greenbench.measure import summary
from greenbench.measure.windows import Recorder
from greenbench.measure.workloads import Iteration, Requests, generate
from greenbench.records import Phase, Stopping, Who, Window
from greenbench.specs import ProtocolSpec, Stop, WorkloadSpec

WHO: tuple[Who, ...] = ("baseline", "candidate")
PHASES: tuple[Phase, ...] = ("prefill", "generate")
STRIDE = 16  # blocks start this many requests apart, so that each block sees other prompts
Progress = Callable[[str, int, int], None]


class Cell(NamedTuple):
    """One window to take."""

    block: int
    position: int
    who: Who
    phase: Phase


def schedule(blocks: int, seed: int) -> list[list[tuple[Who, Phase]]]:
    """The seeded order of the windows in each block; more blocks only add to fewer."""
    dice = random.Random(seed)
    cells = [(who, phase) for who in WHO for phase in PHASES]
    return [dice.sample(cells, len(cells)) for _ in range(blocks)]


def schedule_in_turn(blocks: int, seed: int) -> list[Cell]:
    """The order of windows where only one model is loaded: baseline first, middle and last.

    Segments of n/4, n/2, n/2, n/2 and n/4 blocks of B C B C B, for the next multiple n of 4: each
    block pairs neighbours, as often baseline first as candidate first, so a linear drift cancels.
    """
    dice = random.Random(seed)
    quarter = -(-blocks // 4)
    cells: list[Cell] = []
    starts: dict[Who, int] = {"baseline": 0, "candidate": 0}
    for turn, quarters in enumerate((1, 2, 2, 2, 1)):
        who = WHO[turn % 2]
        for block in range(starts[who], starts[who] + quarters * quarter):
            phases = dice.sample(PHASES, len(PHASES))
            cells += [Cell(block, place, who, phase) for place, phase in enumerate(phases)]
        starts[who] += quarters * quarter
    return cells


def cells(protocol: ProtocolSpec, seed: int, *, in_turn: bool) -> list[Cell]:
    """All windows that may be taken, in order: in blocks, or in turn for one model at a time."""
    if in_turn:
        return schedule_in_turn(protocol.blocks, seed)
    return [
        Cell(block, place, who, phase)
        for block, order in enumerate(schedule(protocol.max_blocks, seed))
        for place, (who, phase) in enumerate(order)
    ]


def measure(
    recorder: Recorder,
    models: Mapping[Who, Any],
    requests: Requests,
    workload: WorkloadSpec,
    protocol: ProtocolSpec,
    order: Sequence[Cell],
    progress: Progress,
) -> Stopping:
    """Take the windows of `order` until the headline ratio is known well enough.

    Both models meet the same prompts in the same block.
    """
    for number, (block, position, who, phase) in enumerate(order):
        progress("measure", number, len(order))
        new_tokens = 1 if phase == "prefill" else workload.output_tokens
        model = models[who]
        recorder.repeat(
            phase,
            who,
            partial(_request, model, requests, block * STRIDE, new_tokens, workload.stop),
            window_s=protocol.window_s,
            min_iterations=protocol.min_iterations,
            block=block,
            position=position,
        )
        ends_block = number + 1 == len(order) or order[number + 1].block != block
        if ends_block and _whole_blocks(recorder.windows) >= protocol.blocks:
            state = stopping(recorder.windows, protocol)
            if state.reached:
                break
    progress("measure", 1, 1)
    return stopping(recorder.windows, protocol)


def _whole_blocks(windows: Sequence[Window]) -> int:
    """Blocks in which every window has been taken, all of a smaller number among them."""
    taken = Counter(window.block for window in windows if window.block is not None)
    whole = {block for block, count in taken.items() if count == len(WHO) * len(PHASES)}
    return len(whole) if len(whole) == len(taken) else 0


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
