"""Randomized blocks: each measures baseline and candidate once in each way, in random order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import ceil, log
from typing import NamedTuple, Protocol, runtime_checkable

from greenbench.analysis import blocks as summary
from greenbench.analysis.disturbances import with_clock_codes
from greenbench.engines.engine import Completion, Request, Served
from greenbench.measure.pair import Pair
from greenbench.measure.recorder import Recorder
from greenbench.measure.requests import Prompts, Requests
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, Metric
from greenbench.schema.quantity import Quantity, said
from greenbench.schema.record import Findings, Stopping
from greenbench.schema.spec import ProtocolSpec
from greenbench.schema.window import WHO, Phase, Place, Who, Window
from greenbench.stats.intervals import stein_blocks
from greenbench.wording import TIMES

Kind = tuple[Phase, float | None]
"""What is done in a window, and under which load."""
CLOSED: tuple[Kind, ...] = (("prefill", None), ("generate", None))
"""One batch after another: the start of answers alone, and the whole."""
STRIDE = 16  # blocks start this many requests apart, so that each block sees other prompts


class Progress(Protocol):
    """Who hears how far a run is."""

    def __call__(self, stage: str, done: int, total: int, known: str = "") -> None:
        """`done` of `total` steps of a stage; `known` is what they have shown by now."""


@runtime_checkable
class Keeper(Progress, Protocol):
    """Who also keeps what is known by now, should the process end before the run does."""

    def keep(self, findings: Findings) -> None:
        """In place of what was kept before."""


class Cell(NamedTuple):
    """One window to take."""

    block: int
    position: int
    who: Who
    phase: Phase
    load: float | None = None


Take = Callable[[Cell, Served], None]
"""Meters one window of the model that is served."""


def schedule(
    blocks: int, seed: int, kinds: Sequence[Kind] = CLOSED
) -> list[list[tuple[Who, Kind]]]:
    """The seeded order of the windows in each block; more blocks only add to fewer."""
    dice = random.Random(seed)
    cells = [(who, kind) for who in WHO for kind in kinds]
    return [dice.sample(cells, len(cells)) for _ in range(blocks)]


def schedule_in_turn(blocks: int, seed: int, kinds: Sequence[Kind] = CLOSED) -> list[Cell]:
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
            order = dice.sample(kinds, len(kinds))
            cells += [Cell(block, place, who, *kind) for place, kind in enumerate(order)]
        starts[who] += quarters * quarter
    return cells


def rounds(
    protocol: ProtocolSpec, seed: int, kinds: Sequence[Kind] = CLOSED, *, in_turn: bool
) -> list[list[Cell]]:
    """All windows that may be taken, in order, in parts that are measured whole or not at all.

    A part is a block, or, for one model at a time, a whole turn of `schedule_in_turn`: stopping
    within one would leave drift in the ratio.
    """
    if in_turn:
        turn = summary.planned(protocol.blocks, in_turn=True)
        starts = range(0, max(protocol.max_blocks // turn, 1) * turn, turn)
        return [
            [
                cell._replace(block=start + cell.block)
                for cell in schedule_in_turn(turn, seed + n, kinds)
            ]
            for n, start in enumerate(starts)
        ]
    return [
        [Cell(block, place, who, *kind) for place, (who, kind) in enumerate(order)]
        for block, order in enumerate(schedule(protocol.max_blocks, seed, kinds))
    ]


def measure(
    recorder: Recorder,
    pair: Pair,
    take: Take,
    protocol: ProtocolSpec,
    order: Sequence[Sequence[Cell]],
    progress: Progress,
) -> Stopping:
    """`take` the first `rounds` of `order`, then as many as their spread asks for (Stein's two stages).

    A rule that looked after each block would stop where the blocks happen to agree, and its 95 % intervals
    would cover 92 or 93 %.
    """
    done, total, known = 0, sum(map(len, order)), ""
    first = needed = None
    limit = 1 + max(cell.block for cell in order[-1])
    in_turn = len({cell.block for cell in order[0]}) > 1
    for part in order:
        for cell in part:
            progress(
                "measure", done, max(done + 1, total), known
            )  # blocks that were spoilt are made up for
            with pair.use(cell.who) as served:
                take(cell, served)
            done += 1
        coded = with_clock_codes(recorder.windows)  # blocks that it spoils are made up for
        if first is None and part[-1].block >= protocol.blocks - 1:
            first = part[-1].block + 1
            needed = needed_blocks(coded, protocol, in_turn=in_turn)
            total = ceil(total * min(needed or limit, limit) / limit)
        known = _known(coded, first)
        if needed and _headline(coded)[0] >= needed:
            break
    progress("measure", 1, 1)
    coded = with_clock_codes(recorder.windows)
    return stopping(coded, protocol, first, needed, limit, in_turn=in_turn)


def needed_blocks(
    windows: Sequence[Window], protocol: ProtocolSpec, *, in_turn: bool = False
) -> int | None:
    """How many blocks bring the headline ratio to its target, by the spread of these; as planned, or more.

    In turn also by what each loading shifts. Null where fewer than two are valid: then as many are measured
    as may be.
    """
    _, metric, _ = _headline(windows)
    logs = [log(ratio) for ratio in summary.block_ratios(windows, metric.ratio)]
    if len(logs) < 2:
        return None
    shift = summary.shift_of(windows, metric.ratio) if in_turn else None
    needed = stein_blocks(logs, protocol.target_half_width, [shift] if shift else [])
    return max(protocol.blocks, needed)


def stopping(
    windows: Sequence[Window],
    protocol: ProtocolSpec,
    first: int | None = None,
    needed: int | None = None,
    limit: int | None = None,
    *,
    in_turn: bool = False,
) -> Stopping:
    """Whether the headline ratio is known to the target: energy, or speed where that is estimated.

    The first `first` blocks (null: all) decided that `needed` are, of at most `limit` (null: the protocol's).
    """
    blocks, metric, ratio = _headline(windows, first, in_turn=in_turn)
    known = ratio.value is not None and ratio.low is not None and ratio.high is not None
    half = (ratio.high - ratio.low) / 2 / ratio.value if known else None  # type: ignore[operator]
    return Stopping(
        metric=metric.ratio,
        target_half_width=protocol.target_half_width,
        half_width=half,
        reached=half is not None and half <= protocol.target_half_width,
        blocks=blocks,
        limit=limit or protocol.max_blocks,
        needed=needed,
    )


def _headline(
    windows: Sequence[Window], first: int | None = None, *, in_turn: bool = False
) -> tuple[int, Metric, Quantity]:
    """How many blocks there are, and what they show: of energy, or of speed where that is estimated."""
    kept = summary.valid_blocks(windows)
    decided = None if first is None else summary.deciding(kept, first)
    ratios = summary.ratios(kept, "no meter answered", first=decided, in_turn=in_turn)
    measured = ratios[ENERGY_PER_TOKEN.ratio].is_measured
    metric = ENERGY_PER_TOKEN if measured else TOKENS_PER_S
    return len({window.block for window in kept}), metric, ratios[metric.ratio]


def _known(windows: Sequence[Window], first: int | None) -> str:
    """That in words."""
    blocks, metric, ratio = _headline(windows, first)
    what = "J/token" if metric is ENERGY_PER_TOKEN else "tokens/s"
    shown = [f"{what} {said(ratio, suffix=TIMES)}"] if ratio.bounds else []
    return ", ".join([*shown, f"{blocks} blocks"])


def one_after_another(
    recorder: Recorder,
    requests: Requests,
    protocol: ProtocolSpec,
    fresh: Prompts | None = None,
) -> Take:
    """Windows in which each batch is sent when the one before is answered.

    Both models meet the same prompts in the same block, or, of `fresh` ones, every window has its own: for
    engines that may know a prompt again.
    """

    def take(cell: Cell, served: Served) -> None:
        first, new_tokens = cell.block * STRIDE, 1 if cell.phase == "prefill" else None
        place = 4 * cell.block + 2 * WHO.index(cell.who) + (cell.phase == "prefill")
        own = fresh.batches(place, new_tokens) if fresh else None
        sent: list[Request] = []

        def answered(index: int) -> list[Completion]:
            batch = next(own) if own else requests.batch(first + index, new_tokens)
            sent.extend(batch)
            return served.complete(batch)

        recorder.repeat(
            cell.phase,
            cell.who,
            served,
            answered,
            window_s=protocol.window_s,
            min_iterations=protocol.min_iterations,
            place=Place(series="block", unit=cell.block, position=cell.position),
        )
        recorder.sent.add(None if fresh else (cell.who, cell.phase), sent)

    return take
