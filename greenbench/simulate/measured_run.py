"""A whole run in the lab: its record, through the real `Recorder`, blocks, conclusions, store and reader."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from math import exp
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np

from greenbench.analysis.blocks import energy_of
from greenbench.engines.engine import Build, Footprint, Request, Served
from greenbench.measure import schedule
from greenbench.measure.pair import InTurn, Together
from greenbench.measure.recorder import Recorder, Whose
from greenbench.meters import OpenMeters
from greenbench.models.keys import run_key
from greenbench.run.conclude import Bodies, conclude
from greenbench.schema.enums import Source
from greenbench.schema.record import ModelFacts, Record, Settling, Stopping
from greenbench.schema.resolved import ResolvedSpec
from greenbench.schema.spec import (
    MeterSpec,
    ModelSpec,
    ProtocolSpec,
    RunSpec,
    TaskSpec,
    WorkloadSpec,
)
from greenbench.schema.technique import AppliedTechnique, Promise
from greenbench.schema.window import WHO, Place, Who
from greenbench.simulate.block_values import protocol
from greenbench.simulate.drawn_power import IDLE_W, Bench, Device
from greenbench.simulate.exam import Answers, score
from greenbench.simulate.moving_engine import BUSY_W, TOKENS, Model, Pretended
from greenbench.simulate.weather import Weather, windows

NOTE: Final = "SIMULATED: no model ran; a clock moved, and a made-up counter counted"
PREPARE_S: Final = 40.0
PROMPT: Final = 128
MODEL: Final = ModelSpec("simulated", Source.local, path="simulated")
SETTLED: Final = Settling(seconds=0.0, iterations=0, settled=True, by="latency", slopes={})


class Truth(NamedTuple):
    """What the technique does, whatever is measured."""

    time: float = 1.0
    """Seconds of a request over the baseline's."""
    watts: float = 1.0

    @property
    def energy(self) -> float:
        """Joules of a request over the baseline's."""
        return self.time * self.watts


class Lab(NamedTuple):
    """Where it is measured."""

    weather: Weather = Weather()
    plan: ProtocolSpec = protocol("dev")
    idle: float = 0.0
    """Spread of idle power from one look at it to the next."""
    waiting_w: float = 0.0
    """What a model draws that waits while the other is measured."""
    in_turn: bool = False
    """Whether the device holds one model at a time."""

    @property
    def apart(self) -> str | None:
        """Why the models are measured in turn, if they are."""
        return "the lab asks for it" if self.in_turn else None


class _Taken(NamedTuple):
    """What was measured."""

    recorder: Recorder
    stopping: Stopping
    footprints: Mapping[Who, Footprint]


def run(
    name: str,
    truth: Truth,
    lab: Lab,
    dice: np.random.Generator,
    *,
    answers: Answers | None = None,
    bench: Bench | None = None,
    session: int = 1,
) -> Record:
    """The record that a run of technique `name` leaves; null `bench`: a `Device` without faults."""
    bench = bench or Device()
    with OpenMeters(bench.meters()) as meters, bench.played():
        taken = _measured(name, truth, lab, dice, bench, meters)
        found = conclude(
            _spec(lab.plan), meters, taken.recorder, Bodies(taken.footprints, "cuda", share=True),
            dict.fromkeys(WHO, SETTLED), None, engines=dict.fromkeys(WHO, Pretended()), apart=lab.apart,
            idle=False,
        )  # fmt: skip
    spec = _resolved(name, lab.plan, answers, session)
    known: dict[str, Any] = {
        "model": ModelFacts(name="simulated", source="local", id=None, commit=None,
                            fingerprint="51" * 32, license="none", note=NOTE),
        "techniques": _applied(name, taken.recorder),
        "design": "sequential" if lab.in_turn else "interleaved",
        "design_reason": lab.apart,
        "quality": [score(answers)] if answers else [],
        "stopping": taken.stopping,
    }  # fmt: skip
    return Record(
        key=run_key(spec),
        name=name,
        status="completed",
        spec=spec,
        command="greenbench bench",
        started_at=f"2025-01-02T{session // 60:02d}:{session % 60:02d}:00+00:00",
        environment={"simulated": NOTE},
        **(dict(found) | known),
    )


def _measured(
    name: str, truth: Truth, lab: Lab, dice: np.random.Generator, bench: Bench, meters: OpenMeters
) -> _Taken:
    """Idle, prepare, blocks, idle."""
    shift = exp(lab.weather.session * dice.standard_normal())
    beside_w = 0.0 if lab.in_turn else lab.waiting_w
    models = {
        "baseline": Model(bench, 1.0, 1.0),
        "candidate": Model(bench, truth.time, truth.watts * shift),
    }
    seed = int(dice.integers(1 << 30))
    recorder = Recorder(meters, seed=seed, watched=bench.watched, clock=bench.clock)

    def rest(loaded: Whose, seconds: float = lab.plan.idle_s, beside_w: float = 0.0) -> None:
        bench.draw(IDLE_W * exp(lab.idle * dice.standard_normal()) + beside_w)
        recorder.idle(loaded, seconds)
        bench.draw(IDLE_W)

    def serve(who: Who, build: Build) -> AbstractContextManager[Served]:
        models[who].level = lab.weather.reload * dice.standard_normal()
        return nullcontext(cast("Served", build.source))

    rest("empty")
    if name != "none":
        with recorder.whole("prepare", "candidate"):
            bench.draw(BUSY_W)
            bench.clock.sleep(PREPARE_S)
            bench.draw(IDLE_W)
    make = {who: partial(_build, models[who]) for who in WHO}
    with InTurn(serve, make) if lab.in_turn else Together(serve, make) as pair:
        pair.alone(partial(rest, "one", lab.plan.idle_s / 2))
        pair.fill()
        for model in models.values():
            model.beside_w = beside_w
        rest("both", 0.0 if lab.in_turn else lab.plan.idle_s, beside_w)
        take = partial(_take, recorder, models, windows(lab.weather, dice), lab.plan)
        order = schedule.rounds(lab.plan, seed, in_turn=lab.in_turn)
        stopping = schedule.measure(recorder, pair, take, lab.plan, order, _unheard)
        rest("both", 0.0 if lab.in_turn else lab.plan.idle_s, beside_w)
    bench.join(recorder)
    return _Taken(recorder, stopping, pair.footprints)


def _take(
    recorder: Recorder,
    models: Mapping[str, Model],
    noise: Iterator[float],
    plan: ProtocolSpec,
    cell: schedule.Cell,
    served: Served,
) -> None:
    """One window."""
    models[cell.who].noise = next(noise)
    asked = [Request((1,) * PROMPT, TOKENS if cell.phase == "generate" else 1)]
    recorder.repeat(
        cell.phase, cell.who, served, lambda _: served.complete(asked),
        window_s=plan.window_s, min_iterations=plan.min_iterations,
        place=Place(series="block", unit=cell.block, position=cell.position),
    )  # fmt: skip


def _build(model: Model) -> Build:
    return Build(MODEL, "url", model, Path())


def _unheard(stage: str, done: int, total: int, known: str = "") -> None:
    """Nobody waits."""


def _spec(plan: ProtocolSpec) -> RunSpec:
    work = WorkloadSpec("simulated", prompt_tokens=PROMPT, output_tokens=TOKENS)
    return RunSpec(MODEL, {}, TaskSpec(["simulated"]), work, MeterSpec(), plan)


def _resolved(name: str, plan: ProtocolSpec, answers: Answers | None, session: int) -> ResolvedSpec:
    spec = _spec(plan)
    task = asdict(spec.task) | {"items": len(answers.documents) if answers else 0}
    return ResolvedSpec.model_validate_json(
        json.dumps(
            {
                "model": asdict(spec.model) | {"path": "51" * 32},
                "technique": [] if name == "none" else [{"name": name}],
                "task": {key: value for key, value in task.items() if key != "include_path"},
                "workload": asdict(spec.workload),
                "meter": {"order": ["simulated"]},
                "protocol": asdict(spec.protocol),
                "device": {"kind": "cuda", "name": "Simulated device"},
                "engine": {"name": Pretended.name},
                "load": {"arrivals": "closed"},
                "seed": 0,
                "session": session,
            },
            default=lambda choice: choice.value,
        )
    )


def _applied(name: str, recorder: Recorder) -> list[AppliedTechnique]:
    return [
        AppliedTechnique(
            name=name, family="simulated", summary="simulated", paper=None, lossless=False,
            promise=Promise(note="none"), prepare_s=window.end_s - window.start_s,
            prepare_energy=energy_of(window),
        )
        for window in recorder.windows
        if window.phase == "prepare"
    ]  # fmt: skip
