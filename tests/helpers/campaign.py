"""Runs on an imaginary GPU, from joules per block to verdicts and budgets. Inputs, not measured."""

from __future__ import annotations

from math import exp
from typing import Any

from greenbench.analysis import blocks, footprint
from greenbench.analysis.uncertainty import budgets
from greenbench.analysis.verdicts import judge_exact
from greenbench.schema.quantity import missing
from greenbench.schema.record import Record
from greenbench.schema.window import Phase, Place, Span, Who, Window
from helpers import examples, factory

BLOCKS, WINDOW_S, TOKENS = 8, 10.0, 1000
BASELINE_W, IDLE_W = 300.0, 60.0
WOBBLE = (-1.2, 0.4, 0.9, -0.3, 0.7, -0.8, 1.1, -0.8)
"""Relative noise of the blocks, in units of a run's spread; they sum to 0."""
Meters = dict[str, tuple[str, str, float]]
NVML: Meters = {"nvml": ("gpu", "measured:counter:nvml", 1.0)}
NVML_POWER: Meters = {"nvml_power": ("gpu", "measured:integrated:nvml", 1.01)}
HOST: Meters = {
    "rapl": ("cpu_package", "measured:counter:rapl", 0.2),
    "rapl_dram": ("dram", "measured:counter:rapl", 0.05),
}
"""By meter: boundary, provenance, and its joules as a share of the GPU's."""


def span(meter: str, meters: Meters, start_s: float, joules: float) -> Span:
    """One meter over one window."""
    boundary, provenance, share = meters[meter]
    return Span(
        meter=meter,
        boundary=boundary,
        provenance=provenance,
        tick_s=0.1,
        start_s=start_s,
        start_j=50.0,
        end_s=start_s + WINDOW_S,
        end_j=50.0 + share * joules,
    )


def window(who: str, phase: Phase, block: int | None, joules: float, meters: Meters) -> Window:
    """Ten seconds; ten requests of 100 tokens unless it is idle."""
    start_s, busy = 20.0 * (block or 0), phase != "idle"
    return Window(
        phase=phase,
        who=who,
        place=None if block is None else Place(series="block", unit=block, position=0),
        start_s=start_s,
        end_s=start_s + WINDOW_S,
        iterations=10 if busy else 0,
        tokens=(TOKENS if phase == "generate" else 10) if busy else 0,
        prompt_tokens=640 if busy else 0,
        energy=[span(meter, meters, start_s, joules) for meter in meters],
        iteration_s=[WINDOW_S / 10] * 10 if busy else [],
        ttft=factory.percentiles(0.1, 10) if busy else None,
        tpot=factory.percentiles(0.01, 990) if phase == "generate" else None,
    )


def windows(ratio: float, spread: float, meters: Meters) -> list[Window]:
    """Both models in `BLOCKS` blocks; the candidate's joules are `ratio` times the baseline's."""
    found = []
    joules = BASELINE_W * WINDOW_S
    for block in range(BLOCKS):
        noise = exp(spread * WOBBLE[block])
        for who, factor in (("baseline", 1.0), ("candidate", ratio * noise)):
            for phase, part in (("generate", 1.0), ("prefill", 0.2)):
                found.append(window(who, phase, block, part * factor * joules, meters))
    idle = [window("both", "idle", None, IDLE_W * WINDOW_S, meters) for _ in range(2)]
    return [*idle[:1], *found, *idle[1:]]


def run(
    name: str,
    ratio: float,
    *,
    spread: float = 0.004,
    meters: Meters = NVML,
    tier: str = "dev",
    gained: int = 2,
    lost: int = 2,
    **changes: Any,
) -> Record:
    """A completed run with everything that a record can hold."""
    found = windows(ratio, spread, meters)
    validity = changes.get("validity", "valid")
    ratios = blocks.ratios(found, "") | {
        "model_bytes": footprint.exact_ratio(2_000_000, 1_000_000, "")
    }
    levels: dict[Who, Any] = {
        who: examples.subject(blocks.metrics(found, who, "")["energy_per_token_j"], 50, 1_000_000)
        for who in ("baseline", "candidate")
    }
    verdicts = blocks.verdicts(found, tier, validity)
    level, resting = levels["candidate"].metrics["energy_per_token_j"], missing("W", "not measured")
    fields = {
        "windows": found,
        "ratios": ratios,
        "baseline": levels["baseline"],
        "candidate": levels["candidate"],
        "verdicts": verdicts | {"model_bytes": judge_exact("model_bytes", 2_000_000, 1_000_000)},
        "uncertainty": budgets(found, level, ratios["energy_per_token"], resting),
        "warmup": {"baseline": factory.settling(), "candidate": factory.settling()},
        "stopping": factory.stopping(blocks=BLOCKS, limit=15),
        "idle": {
            "both": factory.idle_power(IDLE_W).model_copy(update={"provenance": NVML["nvml"][1]})
        },
    }
    return examples.completed(name, tier=tier, gained=gained, lost=lost, **(fields | changes))


def prepared(record: Record) -> Record:
    """`record` with a window of its preparation on the imaginary GPU."""
    found = window("candidate", "prepare", None, 128.0, NVML)
    return record.model_copy(update={"windows": [found, *record.windows]})


def group() -> list[Record]:
    """One run of every verdict, one invalid, one flagged, and the A/A run."""
    return [
        run("none", 1.001, gained=0, lost=0),
        run("saver", 0.7),
        run("coster", 1.3),
        run("same", 1.002),
        run("unsure", 0.96, spread=0.09),
        run("broken", 0.1, validity="invalid", codes=["throttled", "unsettled"]),
        run("capped", 0.8, validity="flagged", codes=["power_capped"]),
    ]
