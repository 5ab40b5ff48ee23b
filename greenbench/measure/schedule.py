"""Randomized blocks: each measures baseline and candidate once in each phase, in random order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from greenbench.analysis import blocks as summary
from greenbench.engines.engine import Completion, Served
from greenbench.measure.pair import Pair
from greenbench.measure.recorder import Recorder
from greenbench.measure.requests import Requests
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S
from greenbench.schema.record import Stopping
from greenbench.schema.spec import ProtocolSpec
from greenbench.schema.window import WHO, Phase, Place, Who, Window

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


def rounds(protocol: ProtocolSpec, seed: int, *, in_turn: bool) -> list[list[Cell]]:
    """All windows that may be taken, in order, in parts that are measured whole or not at all.

    A part is a block, or, for one model at a time, a whole turn of `schedule_in_turn`: stopping
    within one would leave drift in the ratio.
    """
    if in_turn:
        turn = -(-protocol.blocks // 4) * 4
        starts = range(0, max(protocol.max_blocks // turn, 1) * turn, turn)
        return [
            [cell._replace(block=start + cell.block) for cell in schedule_in_turn(turn, seed + n)]
            for n, start in enumerate(starts)
        ]
    return [
        [Cell(block, place, who, phase) for place, (who, phase) in enumerate(order)]
        for block, order in enumerate(schedule(protocol.max_blocks, seed))
    ]


def measure(
    recorder: Recorder,
    pair: Pair,
    requests: Requests,
    protocol: ProtocolSpec,
    order: Sequence[Sequence[Cell]],
    progress: Progress,
) -> Stopping:
    """Take the `rounds` of `order` until the headline ratio is known well enough.

    Both models meet the same prompts in the same block.
    """
    done, total = 0, sum(map(len, order))
    for part in order:
        for block, position, who, phase in part:
            progress("measure", done, total)
            new_tokens = 1 if phase == "prefill" else None
            with pair.use(who) as served:
                recorder.repeat(
                    phase,
                    who,
                    served,
                    partial(_answered, served, requests, block * STRIDE, new_tokens),
                    window_s=protocol.window_s,
                    min_iterations=protocol.min_iterations,
                    place=Place(series="block", unit=block, position=position),
                )
            done += 1
        enough = done >= protocol.blocks * len(WHO) * len(PHASES)
        if enough and stopping(recorder.windows, protocol).reached:
            break
    progress("measure", 1, 1)
    return stopping(recorder.windows, protocol)


def stopping(windows: Sequence[Window], protocol: ProtocolSpec) -> Stopping:
    """Whether the headline ratio is known to the target: energy, or speed where that is estimated."""
    blocks = summary.valid_blocks(windows)
    ratios = summary.ratios(blocks, "no meter answered")
    measured = ratios[ENERGY_PER_TOKEN.ratio].provenance.startswith("measured")
    metric = (ENERGY_PER_TOKEN if measured else TOKENS_PER_S).ratio
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


def _answered(
    served: Served, requests: Requests, first: int, new_tokens: int | None, index: int
) -> list[Completion]:
    return served.complete(requests.batch(first + index, new_tokens))
