"""Records for the report's tests, made from the factory's. The numbers are inputs, not measured."""

from __future__ import annotations

import random
from typing import Any

from greenbench.analysis.readings import joules
from greenbench.schema.quality import Item, TaskScore
from greenbench.schema.quantity import Provenance, Quantity, missing
from greenbench.schema.record import MeterChoice, Record, Subject
from greenbench.schema.resolved import ResolvedSpec
from greenbench.schema.technique import AppliedTechnique
from greenbench.schema.window import Window
from greenbench.stats.items import change, level
from helpers import factory

NVML: Provenance = "measured:counter:nvml"
ESTIMATE: Provenance = "estimated:model"
GPU = {"kind": "cuda", "name": "Imaginary GPU"}
CPU = {"kind": "cpu", "name": "Imaginary CPU"}
ONE = "one observation has no interval"
METERS = {
    "measured:integrated:nvml": "nvml_power",
    "measured:counter:rapl": "rapl",
    "measured:counter:zeus": "zeus",
    "measured:wall": "wall",
    ESTIMATE: "estimate",
}
"""Which meter counts so; of all else nvml."""


def quantity(
    value: float, half: float | None, unit: str, provenance: Provenance = "measured:clock"
) -> Quantity:
    """A number with a symmetric interval, or none."""
    if half is None:
        return Quantity(value=value, unit=unit, provenance=provenance, n=1, reason=ONE)
    bounds = {"low": value - half, "high": value + half}
    return Quantity(value=value, unit=unit, provenance=provenance, n=5, **bounds)


def score(task: str, gained: int, lost: int, n: int = 100, right: int = 60) -> TaskScore:
    """An accuracy task on which the candidate gains and loses so many of `n` items."""
    before = [1.0] * right + [0.0] * (n - right)
    after = [0.0] * lost + [1.0] * (right - lost + gained) + [0.0] * (n - right - gained)
    return task_score(task, "acc_norm", "fraction", before, after, [1.0] * n)


def bits_per_byte(factor: float, n: int = 20) -> TaskScore:
    """Text whose bits the candidate multiplies by about `factor`."""
    draw = random.Random(0)
    sizes = [float(draw.randint(200, 900)) for _ in range(n)]
    before = [size * draw.uniform(0.9, 1.1) for size in sizes]
    after = [bits * factor * draw.uniform(0.99, 1.01) for bits in before]
    return task_score("wikipedia_bpb", "bits_per_byte", "bit/byte", before, after, sizes)


def task_score(
    task: str,
    metric: str,
    unit: str,
    before: list[float],
    after: list[float],
    weights: list[float],
) -> TaskScore:
    """A task's score from both models' answers, as the quality room makes it."""
    intervals = {
        "baseline": level(before, weights),
        "candidate": level(after, weights),
        "change": change(before, after, weights),
    }
    levels = {
        name: Quantity(unit=unit, provenance="measured:score", **interval._asdict())
        for name, interval in intervals.items()
    }
    items = [
        Item(index=index, baseline=b, candidate=c, weight=w)
        for index, (b, c, w) in enumerate(zip(before, after, weights, strict=True))
    ]
    higher = metric != "bits_per_byte"
    return TaskScore(
        task=task, metric=metric, higher_is_better=higher, split="test", items=items, **levels
    )


def windows(source: Provenance | None, reason: str, ratio: float = 0.7) -> list[Window]:
    """The factory's windows as the meter `source` would have counted them, or no meter at all.

    In every block the candidate draws exactly `ratio` times the baseline's joules.
    """
    if source is None:
        update: dict[str, Any] = {"energy": [], "energy_reason": reason}
        return [window.model_copy(update=update) for window in factory.windows()]
    boundary = "gpu" if "nvml" in source else "cpu_package"
    counted = {"provenance": source, "boundary": boundary, "meter": METERS.get(source, "nvml")}
    found = factory.windows()
    drawn = {(w.block, w.phase): joules(w) for w in found if w.who == "baseline"}
    return [
        window.model_copy(
            update={
                "energy": [
                    span.model_copy(
                        update={
                            **counted,
                            "end_j": span.start_j + ratio * drawn[window.block, window.phase],
                        }
                        if window.who == "candidate" and window.block is not None
                        else counted
                    )
                    for span in window.energy
                ]
            }
        )
        for window in found
    ]


def subject(energy: Quantity, speed: float, size: int) -> Subject:
    """A model's numbers at `speed` tokens a second."""
    metrics = {
        "energy_per_token_j": energy,
        "ttft_p50_s": quantity(2 / speed, 0.02 / speed, "s"),
        "tpot_p50_s": quantity(1 / speed, 0.01 / speed, "s"),
        "tokens_per_s": quantity(speed, 0.01 * speed, "token/s"),
        "host_peak_bytes": quantity(9e8, None, "B", "measured:memory"),
        "device_peak_bytes": missing("B", "this device has no such mark"),
        "model_bytes": quantity(size, None, "B", "measured:memory"),
    }
    return factory.subject("candidate").model_copy(update={"metrics": metrics})


def spec(technique: str, tier: str = "dev", **changes: Any) -> ResolvedSpec:
    """A resolved spec; `changes` are merged with its parts."""
    stack = [] if technique == "none" else [{"name": technique}]
    defaults: dict[str, Any] = {"device": GPU, "protocol": {"tier": tier}, "technique": stack}
    return factory.spec(**(defaults | changes))


def completed(
    technique: str = "int8",
    *,
    energy: float | None = 0.7,
    half: float | None = 0.02,
    speed: float = 1.2,
    gained: int = 1,
    lost: int = 2,
    bits: float = 1.01,
    source: Provenance = NVML,
    baseline_j: float = 2.0,
    reason: str = "no counter moved",
    **changes: Any,
) -> Record:
    """A completed run: `energy` and `speed` are ratios to the baseline, `half` their intervals'.

    `changes` replace fields of the record, or sections of its spec. What records did not always hold
    (verdicts, budgets, warm-up, stopping, idle) is left out; ``campaign.py`` has it.
    """
    fields = {name: changes.pop(name) for name in tuple(changes) if name in Record.model_fields}
    if energy is None:
        base, own, ratio = (missing(unit, reason) for unit in ("J/token", "J/token", "ratio"))
    else:
        spread = None if half is None else half * baseline_j
        base = quantity(baseline_j, spread, "J/token", source)
        own = quantity(energy * baseline_j, spread, "J/token", source)
        ratio = quantity(energy, half, "ratio", source)
    applied = AppliedTechnique.model_validate(
        factory.record().techniques[0].model_dump()
        | {
            "name": technique,
            "family": "quantization" if technique.startswith("int") else "other",
        }
    )
    values = {
        "name": technique,
        "spec": spec(technique, **changes),
        "command": f"greenbench bench technique={technique}",
        "techniques": [] if technique == "none" else [applied],
        "windows": windows(None if energy is None else source, reason, energy or 1.0),
        "baseline": subject(base, 50, 2_000_000),
        "candidate": subject(own, 50 * speed, 1_000_000),
        "ratios": {
            "energy_per_token": ratio,
            "tokens_per_s": quantity(speed, half, "ratio"),
            "model_bytes": quantity(0.5, None, "ratio", "measured:memory"),
        },
        "quality": [score("sciq", gained, lost), score("piqa", 0, 0), bits_per_byte(bits)],
    }
    values |= {"verdicts": {}, "uncertainty": {}, "warmup": {}, "idle": {}, "stopping": None}
    return factory.record(**(values | {"meter": used((values | fields)["windows"])} | fields))


def used(some: list[Window]) -> MeterChoice:
    """The meters that counted in these windows."""
    names = next(([span.meter for span in each.energy] for each in some if each.energy), [])
    why = factory.record().meter.refused  # type: ignore[union-attr]
    refused = {name: each for name, each in why.items() if name not in names}
    return MeterChoice(used=names, refused=refused)


def against(reference: str, technique: str, energy: float, why: str | None = None) -> Record:
    """A run against that reference of transformers; `why` its candidate ran eager."""
    eager = {"candidate": why} if why else {}
    if reference == "eager":
        eager = {"baseline": "asked", "candidate": why or "asked"}
    facts = factory.record().engine.model_copy(update={"eager": eager})  # type: ignore[union-attr]
    engine = {"name": "transformers", "reference": reference}
    return completed(technique, energy=energy, engine=facts, spec=spec(technique, engine=engine))


def failed(technique: str = "int4", **changes: Any) -> Record:
    """A run without a result. `changes` as for `completed`."""
    fields = {name: changes.pop(name) for name in tuple(changes) if name in Record.model_fields}
    command = f"greenbench bench technique={technique}"
    values = {"name": technique, "spec": spec(technique, **changes), "command": command}
    return factory.failed(**(values | fields))
