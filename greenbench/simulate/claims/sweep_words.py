"""Verdicts: false ones over a sweep, `equivalent` where there is an effect, and the chance to show one."""

from __future__ import annotations

from functools import cache, partial
from typing import Final

import numpy as np

from greenbench.analysis.verdicts import ALPHA, judge, judge_sweep
from greenbench.schema.enums import Tier
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S
from greenbench.schema.quantity import Provenance
from greenbench.schema.verdict import Verdict
from greenbench.simulate.block_values import protocol, values
from greenbench.simulate.claims.said import Case, Told
from greenbench.simulate.weather import Weather
from greenbench.stats.intervals import MARGIN
from greenbench.stats.power import Blocks, chance

RUNS: Final = 31
MEASURED: Final[Provenance] = "measured:counter:nvml"
CLOCK: Final[Provenance] = "measured:clock"
EFFECTS: Final = (0.03, 0.05, 0.10)
SPREADS: Final = {"quick": (0.01, 0.03), "dev": (0.01, 0.02, 0.04), "publish": (0.005, 0.01, 0.02)}
WEATHERS: Final = (
    Weather("independent", 0.02), Weather("ar1", 0.02), Weather("walk", 0.02), Weather("trend", 0.02),
    Weather("heavy tails", 0.02), Weather("stalls", 0.02), Weather("independent", 0.005),
)  # fmt: skip


def verdict(ratio: float, weather: Weather, name: str, dice: np.random.Generator) -> Verdict:
    """Of one run by that protocol, alone; of tier smoke, which claims speed at most, on speed."""
    plan = protocol(name)
    before, after, first, stays = values(ratio, weather, plan, dice)
    metric, source = ENERGY_PER_TOKEN, MEASURED
    if plan.tier is Tier.smoke:
        metric, source = TOKENS_PER_S, CLOCK
        before, after = ([1 / each for each in side] for side in (before, after))
    return judge(
        metric.ratio, before, after, provenance=source, tier=plan.tier.value, validity="valid",
        first=first, stays=stays,
    )  # fmt: skip


def false_words(weather: Weather, tier: str, dice: np.random.Generator) -> list[Told]:
    """Whether a sweep of runs without any effect calls one a saving or a cost."""
    found = judge_sweep([verdict(1.0, weather, tier, dice) for _ in range(RUNS)])
    return [Told(ALPHA, any(each.verdict in ("saves", "costs") for each in found))]


def false_equivalence(
    weather: Weather, tier: str, ratio: float, dice: np.random.Generator
) -> list[Told]:
    """Whether an effect of the margin is called none."""
    return [Told(ALPHA, verdict(ratio, weather, tier, dice).verdict == "equivalent")]


@cache
def told_before(tier: str, spread: float, effect: float) -> float:
    """The chance that ``doctor --power`` tells of it."""
    plan = protocol(tier)
    blocks = Blocks(plan.blocks, plan.max_blocks, plan.target_half_width)
    return chance(1 - effect, spread, blocks).shown


def power(tier: str, spread: float, effect: float, dice: np.random.Generator) -> list[Told]:
    """Whether a saving is shown, against the chance that was told before."""
    found = verdict(1 - effect, Weather("independent", spread), tier, dice)
    return [Told(told_before(tier, spread, effect), found.verdict == "saves")]


def cases(labs: int) -> list[Case]:
    """All of them."""
    found = [
        Case(f"no false saving or cost among {RUNS} runs without effect",
             f"{tier}, {each.kind} noise, blocks that spread {100 * each.spread:g} %", "at most",
             partial(false_words, each, tier), labs // 2)
        for tier in ("dev", "publish") for each in WEATHERS
    ]  # fmt: skip
    found += [
        Case("`equivalent` where the effect is 2 %",
             f"{tier}, {each.kind} noise, {100 * each.spread:g} %, true ratio {ratio:.4f}", "at most",
             partial(false_equivalence, each, tier, ratio), labs)
        for tier, each in (("dev", Weather("independent", 0.005)), ("dev", Weather("independent", 0.01)),
                           ("dev", Weather("heavy tails", 0.01)), ("publish", Weather("ar1", 0.005)),
                           ("publish", Weather("independent", 0.02)))
        for ratio in (1 + MARGIN, 1 / (1 + MARGIN))
    ]  # fmt: skip
    found += [
        Case(f"a saving of {100 * effect:g} % is shown", f"{tier}, blocks that spread {100 * spread:g} %",
             "predicted", partial(power, tier, spread, effect), labs)
        for effect in EFFECTS for tier, spreads in SPREADS.items() for spread in spreads
    ]  # fmt: skip
    return found
