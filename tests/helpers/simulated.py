"""A made-up GPU campaign, metered for real.

Meters, windows, blocks, statistics and verdicts are GreenBench's own, through pynvml and the fake
NVML driver; only the model is made up: a clock moves where one would compute, while the driver is
told to draw so many watts. Its records say everywhere that they are simulated.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import pynvml

from greenbench.analysis.blocks import energy_of
from greenbench.engines.engine import Completion, Footprint
from greenbench.engines.transformers.engine import Transformers
from greenbench.measure import recorder, schedule
from greenbench.meters import OpenMeters, telemetry
from greenbench.meters.nvml_counter import NvmlCounter
from greenbench.meters.nvml_power import NvmlPower
from greenbench.run import conclude
from greenbench.schema.enums import Design, Tier
from greenbench.schema.load_spec import LoadSpec, SloSpec
from greenbench.schema.quality import TaskScore
from greenbench.schema.record import ModelFacts, Record
from greenbench.schema.resolved import ResolvedSpec
from greenbench.schema.spec import ProtocolSpec
from greenbench.schema.technique import AppliedTechnique, Promise
from greenbench.schema.window import Place
from helpers import examples, factory

GPU = "GPU-51515151-0000-1111-2222-333333333333"
DRIVER = (
    f"device {GPU}\nname Simulated GPU\npower 700\nlimit 700 20 700\ntemperature 44 0.02\n"
    f"clocks 1980 2619\nutilization 90\nprocess {os.getpid()} 6000000000\n"
)
NOTE = "SIMULATED: no model ran; a clock moved, and a fake NVML driver counted its joules"
IDLE_W, BUSY_W = 70, 420
FIRST_S, GAP_S, PROMPT, OUTPUT = 0.05, 0.012, 128, 64
ITEMS = 400
LAYERS, WEIGHTS = 32, 2_000_000_000
PROTOCOL = ProtocolSpec(
    tier=Tier.dev, window_s=10, min_iterations=3, blocks=5, max_blocks=5, target_half_width=0.03,
    idle_s=9, warmup_s=0, warmup_limit_s=0, design=Design.auto, time_limit_s=3600,
)  # fmt: skip


class Load(NamedTuple):
    """What a technique does to the made-up model."""

    name: str
    time: float = 1.0
    """Of the baseline's seconds."""
    watts: float = 1.0
    batch: int = 1
    gained: int = 0
    lost: int = 0
    size: float = 1.0
    promise: Promise | None = None
    prepare_s: float = 4.0
    details: Mapping[str, Any] = MappingProxyType({})
    observed: Mapping[str, Any] = MappingProxyType({})
    driver: str = ""
    traced: bool = False


def promise(note: str, **saved: Any) -> Promise:
    """What the technique says it saves."""
    return Promise(note=note, **saved)


INT4 = promise("16 to 4 bits a weight", bytes_ratio=0.35, kernel="tinygemm")
INT8 = promise("16 to 8 bits a weight", bytes_ratio=0.6, kernel="dequantize")
CURVE = [[step, round(0.9 * step**-0.3 + 0.4, 4)] for step in range(20, 1001, 20)]
CAMPAIGN = (
    Load("none"),
    Load("int4_torchao", 0.45, 0.95, lost=4, gained=2, size=0.35, promise=INT4, traced=True),
    Load("int4_torchao", 0.82, 1.0, batch=8, lost=4, gained=2, size=0.35, promise=INT4),
    Load("int4_torchao", 1.18, 1.02, batch=32, lost=4, gained=2, size=0.35, promise=INT4),
    Load("int8_torchao", 0.93, 1.0, size=0.6, promise=INT8, gained=2, lost=2),
    Load("int8_torchao", 0.985, 1.02, batch=8, size=0.6, promise=INT8, gained=2, lost=2),
    Load("int8_torchao", 1.10, 1.02, batch=32, size=0.6, promise=INT8, gained=2, lost=2),
    Load(
        "prune_wanda", 1.0, 1.0, lost=30, prepare_s=60,
        promise=promise("half of the weights are zero", bytes_ratio=1.0, flops_ratio=1.0,
                        sparsity=0.5, kernel="dense"),
    ),
    Load(
        "prune_depth_heal", 0.77, 1.0, lost=10, gained=3, size=0.77, prepare_s=600,
        promise=promise("32 to 24 blocks", bytes_ratio=0.77, flops_ratio=0.75, layers_ratio=0.75),
        details={"distillation": {"steps": 1000, "tokens": 2_048_000, "seconds": 598.0,
                                  "loss_curve": CURVE}},
    ),
    Load(
        "early_exit", 0.86, 0.98, lost=4, gained=2, size=1.01, prepare_s=120,
        promise=promise("exits after 16 and 24 of 32 blocks"),
        observed={"tokens": 4000, "tokens_by_depth": {"16": 700, "24": 1100, "32": 2200},
                  "mean_depth": 27.0, "flops_ratio": 0.85},
    ),
    Load(
        "self_speculative", 1.12, 0.9, size=1.0,
        promise=promise("the first 16 of 32 blocks draft 2 tokens a round", drafts=2),
        observed={"drafted": 5200, "accepted": 1100, "rounds": 2600},
    ),
    Load("power_limit", 1.21, 0.72, driver="throttle 0 90 64\n", traced=True),
)  # fmt: skip

KEYS = {
    ("none", 1): "4b3cd078fba7cdba",
    ("int4_torchao", 1): "54bd018d08872631",
    ("int4_torchao", 8): "bd8faba774f4c062",
    ("int4_torchao", 32): "fa6ad9cfb6cbda29",
    ("int8_torchao", 1): "67a84f7d7dc5f687",
    ("int8_torchao", 8): "22999614ce879b34",
    ("int8_torchao", 32): "c04cdf8a79df7184",
    ("prune_wanda", 1): "918d85b82d362832",
    ("prune_depth_heal", 1): "073d0e56ed6ec7eb",
    ("early_exit", 1): "f5b8f612af142a8f",
    ("self_speculative", 1): "37ee6e4f731fd95d",
    ("power_limit", 1): "f958cd87a8a30916",
}
"""By name and batch. Fixed, as a page orders its runs, and seeds its draws, by key."""


GPU_MEMORY = SimpleNamespace(
    synchronize=lambda: None,
    reset_peaks=lambda: None,
    device_peak_bytes=lambda: 6_000_000_000,
    pids=frozenset,
)


class Simulation:
    """One run on the fake driver."""

    def __init__(self, attach: Any, monkeypatch: Any, load: Load) -> None:
        """`attach` is the fixture ``fake_nvml``; `monkeypatch` puts its clock in time's place."""
        self._load, self._clock = load, attach(DRIVER + load.driver)
        self._dice = random.Random(f"{load.name} {load.batch}")
        vars(self._clock)["time"] = lambda: 0.0
        quiet = SimpleNamespace(usage=lambda _: None, codes=lambda *_: [])
        memory = SimpleNamespace(
            reset_peaks=lambda _: None, host_peak_bytes=lambda _: 3_000_000_000
        )
        for name, stand_in in (("time", self._clock), ("cpu_load", quiet), ("memory", memory)):
            monkeypatch.setattr(recorder, name, stand_in)
        monkeypatch.setattr(conclude, "on_battery", lambda: False)
        monkeypatch.setattr(Transformers, "version", lambda engine: "5.23.0")
        monkeypatch.setattr(telemetry, "TRACE_POINTS", 20)
        sensor = NvmlPower([GPU], self._clock)
        self._clock.step_s = sensor.tick_s
        self._clock.listeners.append(lambda now_s: sensor.read())
        self._meters = OpenMeters([NvmlCounter([GPU], self._clock), sensor])
        self._recorder = recorder.Recorder(self._meters)
        self._handle = pynvml.nvmlDeviceGetHandleByUUID(GPU)

    def run(self) -> Record:
        """Idle, prepare, score, measure, idle."""
        with self._meters:
            self._draw(IDLE_W)
            self._recorder.idle("empty", PROTOCOL.idle_s)
            if self._load.promise:
                self._whole("prepare", "candidate", self._load.prepare_s)
            for who, factor in (("baseline", 1.0), ("candidate", self._load.time)):
                self._whole("score", who, 20 * factor)
            self._recorder.idle("both", PROTOCOL.idle_s)
            self._measure()
            self._draw(IDLE_W)
            self._recorder.idle("both", PROTOCOL.idle_s)
            return self._record()

    def _draw(self, watts: float) -> None:
        pynvml.nvmlDeviceSetPowerManagementLimit(self._handle, round(1000 * watts))

    def _whole(self, phase: Any, who: str, seconds: float) -> None:
        with self._recorder.whole(phase, who, GPU_MEMORY):
            self._draw(BUSY_W)
            self._clock.sleep(seconds)
            self._draw(IDLE_W)

    def _measure(self) -> None:
        for part in schedule.rounds(PROTOCOL, 0, in_turn=False):
            for block, position, who, phase, _ in part:
                drift = self._dice.gauss(1, 0.006)
                self._draw(BUSY_W * (self._load.watts if who == "candidate" else 1.0) * drift)
                self._recorder.repeat(
                    phase, who, GPU_MEMORY, lambda _, who=who, phase=phase: self._request(who, phase),
                    window_s=PROTOCOL.window_s, min_iterations=PROTOCOL.min_iterations,
                    place=Place(series="block", unit=block, position=position),
                )  # fmt: skip
                self._draw(IDLE_W)

    def _request(self, who: str, phase: str) -> list[Completion]:
        batch = self._load.batch
        slow = (self._load.time if who == "candidate" else 1.0) * self._dice.gauss(1, 0.01)
        first_s, gap_s = FIRST_S * batch**0.8 * slow, GAP_S * batch**0.2 * slow
        made = 1 if phase == "prefill" else OUTPUT
        seconds = first_s + (made - 1) * gap_s
        self._clock.sleep(seconds)
        stamps = tuple(first_s + gap_s * i for i in range(made))
        # As one request, for all of the batch come at the same moments.
        return [Completion(made * batch, PROMPT * batch, 0.0, stamps, seconds)]

    def _record(self) -> Record:
        load, spec = self._load, self._spec()
        held = {"baseline": WEIGHTS, "candidate": round(WEIGHTS * load.size)}
        each = {
            who: Footprint(WEIGHTS // 2, LAYERS, {"bfloat16": size}) for who, size in held.items()
        }
        spec_ = SimpleNamespace(protocol=PROTOCOL, slo=SloSpec(), load=LoadSpec())
        bodies = conclude.Bodies(each, "cuda", share=True)
        found = conclude.conclude(
            spec_, self._meters, self._recorder, bodies,
            {"baseline": factory.settling(), "candidate": factory.settling()}, None,
            engines=dict.fromkeys(held, Transformers()), apart=None, idle=False,
        )  # fmt: skip
        kept = found.windows if load.traced else [_untraced(w) for w in found.windows]
        fields = dict(found) | {
            "windows": kept,
            "model": ModelFacts(name="simulated-1b", source="local", id=None, commit=None,
                                fingerprint="51" * 32, license="none", note=NOTE),
            "techniques": self._applied(),
            "quality": [self._quality()],
            "warmup": {"baseline": factory.settling(), "candidate": factory.settling()},
            "stopping": schedule.stopping(found.windows, PROTOCOL),
            "stages_s": {"measure": self._clock.now_s, "total": self._clock.now_s},
        }  # fmt: skip
        return Record(
            key=KEYS[load.name, load.batch],
            name=load.name,
            status="completed",
            spec=spec,
            command="(simulated: pytest tests/report/test_golden.py --renew-golden)",
            started_at="2025-01-02T03:04:05+00:00",
            environment={"simulated": NOTE, "gpus": ["Simulated GPU"]},
            **fields,
        )

    def _spec(self) -> ResolvedSpec:
        name = self._load.name
        return factory.spec(
            model={"name": "simulated-1b"},
            technique=[] if name == "none" else [{"name": name}],
            task={"names": ["simulated"], "items": ITEMS},
            workload={"batch_size": self._load.batch, "prompt_tokens": PROMPT,
                      "output_tokens": OUTPUT},
            protocol={"tier": "dev", "window_s": 10.0, "min_iterations": 3, "blocks": 5,
                      "max_blocks": 5},
            device={"kind": "cuda", "name": "Simulated GPU (fake NVML)"},
        )  # fmt: skip

    def _applied(self) -> list[AppliedTechnique]:
        load = self._load
        done = [w for w in self._recorder.windows if w.phase == "prepare"]
        return [
            AppliedTechnique(
                name=load.name, family="simulated", summary="simulated", paper=None, lossless=False,
                promise=load.promise, prepare_s=load.prepare_s,
                prepare_energy=energy_of(window), details=dict(load.details),
                observed=dict(load.observed),
            )
            for window in done
            if load.promise
        ]  # fmt: skip

    def _quality(self) -> TaskScore:
        right = 250
        before = [1.0] * right + [0.0] * (ITEMS - right)
        after = list(before)
        after[: self._load.lost] = [0.0] * self._load.lost
        after[right : right + self._load.gained] = [1.0] * self._load.gained
        return examples.task_score("simulated", "acc", "fraction", before, after, [1.0] * ITEMS)


def _untraced(window: Any) -> Any:
    """Traces are most of a record's size."""
    return window.model_copy(update={"trace": None})
