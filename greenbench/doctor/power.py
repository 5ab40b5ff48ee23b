"""``greenbench doctor --power``: what a run here can show, before it is made.

The blocks of this device's A/A run tell how much blocks differ, and that tells with what chance a true
saving is said to be one. Longer windows are taken to be no quieter than those of the A/A run, as most are.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, Final, NamedTuple

from greenbench.analysis.verdicts import CLOCKED, judge
from greenbench.campaign.catalog import options
from greenbench.campaign.compose import plan
from greenbench.errors import UserError
from greenbench.machine.detect import detect
from greenbench.records import calibrations
from greenbench.schema.calibration import Calibration
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S, Metric
from greenbench.schema.quantity import Quantity
from greenbench.schema.spec import TIERS, ProtocolSpec
from greenbench.stats.power import (
    GOAL,
    MOST_TRIED,
    Blocks,
    chance,
    needed,
    smallest_effect,
    spread_bounds,
    spread_of,
)
from greenbench.wording import TO, duration, percent

EFFECTS: Final = (0.03, 0.05, 0.10)
FAMILIES: Final = (1, 10)
"""Runs of a sweep: alone, and as many as a small sweep has."""
WINDOWS: Final = 4
"""Of a block: two models, in prefill and in generate."""
NOT_DONE: Final = (
    "How much blocks differ on this device is not known: run `greenbench doctor --calibrate` first."
)


class Known(NamedTuple):
    """A number, and what it is at both ends of the spread's own 95 % interval."""

    value: float | None
    low: float | None
    high: float | None


def power() -> dict[str, Any]:
    """What each protocol can show on this device, by metric. Raises UserError where it is not calibrated."""
    kept = calibrations.read(detect("auto").device_name)
    if kept is None:
        raise UserError(NOT_DONE)
    return of_calibration(kept, protocols())


def protocols() -> dict[str, ProtocolSpec]:
    """Every protocol that can be asked for, by name, the quickest first."""
    found = {
        name: plan([f"protocol={name}"], multirun=False)[0].spec.protocol
        for name in options("protocol")
    }
    return dict(sorted(found.items(), key=lambda item: item[1].window_s * item[1].blocks))


def of_calibration(kept: Calibration, asked: dict[str, ProtocolSpec]) -> dict[str, Any]:
    """The same of one calibration: by metric its spread and protocols, or why there are none."""
    noise = kept.noise
    floors = {ENERGY_PER_TOKEN: noise.energy_per_token, TOKENS_PER_S: noise.tokens_per_s}
    return {
        "device": kept.device_name,
        "calibration": kept.id,
        "window_s": noise.window_s,
        "effects": EFFECTS,
        "goal": GOAL,
        "metrics": {metric.ratio: _shown(metric, floor, asked) for metric, floor in floors.items()},
    }


def _shown(metric: Metric, floor: Quantity, asked: dict[str, ProtocolSpec]) -> dict[str, Any]:
    if floor.value is None or floor.n < 2:
        return {"reason": floor.reason or "the A/A run has no interval"}
    spread = spread_of(floor.value, floor.n)
    spreads = (spread, *spread_bounds(spread, floor.n))
    return {
        "spread": Known(*spreads)._asdict(),
        "blocks": floor.n,
        "protocols": {
            name: _protocol(metric, floor, protocol, spreads) for name, protocol in asked.items()
        },
    }


def _protocol(
    metric: Metric, floor: Quantity, protocol: ProtocolSpec, spreads: Sequence[float]
) -> dict[str, Any]:
    barred = _barred(metric, floor, protocol)
    if barred:
        return {"reason": barred}
    blocks = Blocks(protocol.blocks, protocol.max_blocks, protocol.target_half_width)
    block_s = WINDOWS * protocol.window_s
    mean = chance(1.0, spreads[0], blocks).blocks
    return {
        "planned": [blocks.first, blocks.most],
        "blocks": mean,
        "windows_s": mean * block_s,
        "block_s": block_s,
        "runs": {
            str(family): _family(
                spreads, blocks, family, max(CLOCKED, TIERS[protocol.tier.value][1])
            )
            for family in FAMILIES
        },
    }


def _family(spreads: Sequence[float], blocks: Blocks, family: int, least: int) -> dict[str, Any]:
    """`least`: blocks without which a run of that tier claims nothing."""
    chances = [
        Known(*(chance(1 - effect, spread, blocks, family).shown for spread in spreads))
        for effect in EFFECTS
    ]
    enough = [needed(1 - effect, spreads[0], family) for effect in EFFECTS]
    smallest = Known(*(smallest_effect(spread, blocks, family) for spread in spreads))
    return {
        "chance": [each._asdict() for each in chances],
        "smallest": smallest._asdict(),
        "needed": [number and max(number, least) for number in enough],
    }


def _barred(metric: Metric, floor: Quantity, protocol: ProtocolSpec) -> str | None:
    """Why a run by this protocol claims nothing of that metric, whatever it shows."""
    sides = [1.0] * protocol.blocks, [1 + 0.01 * n for n in range(protocol.blocks)]
    tier = protocol.tier.value
    found = judge(metric.ratio, *sides, provenance=floor.provenance, tier=tier, validity="valid")
    return found.barred


def as_text(found: dict[str, Any]) -> str:
    """That for a person."""
    lines = [f"what a run on {found['device']} can show (calibration {found['calibration']})"]
    for name, metric in found["metrics"].items():
        lines += ["", *_metric_lines(name, metric, found)]
    return "\n".join([*lines, "", *EXPLAINED])


EXPLAINED: Final = (
    "In per cent: the chance that a true saving of so much gets the verdict saves, of one run and of",
    f"one among ten of a sweep; last, the least that gets it with {percent(GOAL)}. Below: the blocks that",
    "each takes for that, and the time of their windows alone. In brackets: at both ends of what the",
    "A/A run leaves open of how much blocks differ (95 %). Of speed, a saving is of seconds per token.",
    "Longer windows are taken to be no quieter than the A/A run's. Sessions differ too: one shows what",
    "is of that session.",
)


def _metric_lines(name: str, metric: dict[str, Any], found: dict[str, Any]) -> list[str]:
    if "reason" in metric:
        return [f"{name}: not known: {metric['reason']}"]
    spread = _between(metric["spread"])
    rows = [["protocol", "runs", "blocks", *map(percent, found["effects"]), f"{percent(GOAL)} at"]]
    barred = []
    for protocol, said in metric["protocols"].items():
        if "reason" in said:
            barred.append(f"{protocol}: none, for {said['reason']}")
        else:
            rows += _rows(protocol, said)
    seen = f"{metric['blocks']} blocks of {found['window_s']:g} s windows"
    told = f"{name}: blocks differ by {spread} % ({seen})"
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [told, *(table if len(rows) > 1 else []), *barred]


def _rows(protocol: str, said: dict[str, Any]) -> list[list[str]]:
    rows = []
    first, most = said["planned"]
    planned = (
        f"{first}" if first == most else f"{first}{TO}{most}, {said['blocks']:.1f} in the mean"
    )
    took = f"{planned}: {duration(said['windows_s'])}"
    for family, of in said["runs"].items():
        head = [protocol, family, took] if family == "1" else ["", family, ""]
        rows.append([*head, *(_between(each) for each in of["chance"]), _between(of["smallest"])])
        needs = [_needs(number, said["block_s"]) for number in of["needed"]]
        rows.append(["", "", f"  for {percent(GOAL)}", *needs, ""])
    return rows


def _needs(blocks: int | None, block_s: float) -> str:
    return f"{blocks}: {duration(blocks * block_s)}" if blocks else f"over {MOST_TRIED}"


def _between(known: dict[str, float | None]) -> str:
    """In per cent, its ends in ascending order."""
    low, high = sorted((known["low"], known["high"]), key=lambda end: inf if end is None else end)
    return f"{_percent(known['value'])} ({_percent(low)}{TO}{_percent(high)})"


def _percent(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{100 * value:.2g}" if value < 0.0995 else f"{100 * value:.0f}"
