"""The steps of a run that take more than a line: what `run` tells, these do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from greenbench.analysis import footprint
from greenbench.analysis.blocks import planned, valid_blocks
from greenbench.analysis.conclusions import Told, code, conclusions
from greenbench.analysis.difficulty import Asked, summarise
from greenbench.analysis.graded.replies import Graded
from greenbench.engines.engine import Engine, Footprint
from greenbench.machine.cpu_load import on_battery
from greenbench.measure.recorder import Recorder
from greenbench.meters import OpenMeters
from greenbench.run.checkpoint import Content
from greenbench.schema.knobs import changed
from greenbench.schema.metrics import DEVICE_PEAK_BYTES, HOST_PEAK_BYTES
from greenbench.schema.quantity import Quantity
from greenbench.schema.record import EngineFacts, Findings, MeterChoice, Settling, Subject
from greenbench.schema.spec import RunSpec
from greenbench.schema.window import WHO, Who, Window

NOTHING: Mapping[Who, Any] = MappingProxyType({})


class Bodies(NamedTuple):
    """How large both models are, and where."""

    each: Mapping[Who, Footprint]
    on_device: str
    share: bool
    """Whether they share a process at the same time, so that one's peak holds the other."""

    contents: Mapping[Who, Content] = MappingProxyType({})
    """What each was served from."""

    @property
    def unknown(self) -> str:
        """Why some number of bytes is not known."""
        reasons = (found.reason for found in self.each.values())
        return next(filter(None, reasons), "the engine does not tell what it holds")

    def held(self, who: Who) -> int | None:
        """Bytes of one model's weights."""
        return self.each[who].held_bytes

    def subject(self, who: Who, metrics: dict[str, Quantity], windows: Sequence[Window]) -> Subject:
        """One model with its numbers."""
        mine, files = self.each[who], self.contents.get(who, Content(None, None))
        other: Who = "candidate" if who == "baseline" else "baseline"
        others = self.held(other) if self.share else 0
        beside = {
            HOST_PEAK_BYTES.name: others if self.on_device == "cpu" else 0,
            DEVICE_PEAK_BYTES.name: others,
        }
        return Subject(
            parameters=mine.parameters,
            layers=mine.layers,
            dtypes=None if mine.bytes_by_dtype is None else dict(mine.bytes_by_dtype),
            footprint_reason=mine.reason,
            checkpoint=files.checkpoint,
            checkpoint_reason=files.reason,
            metrics=metrics
            | footprint.byte_counts(windows, who, self.held(who), beside, self.unknown),
        )


def conclude(
    spec: RunSpec,
    meters: OpenMeters,
    recorder: Recorder,
    bodies: Bodies,
    warmth: dict[Who, Settling],
    asked: Asked | None,
    graded: Sequence[Graded] = (),
    *,
    engines: Mapping[Who, Engine],
    probed: Mapping[Who, float | None] = NOTHING,
    eager: Mapping[Who, str | None] = NOTHING,
    apart: str | None,
    idle: bool,
) -> Findings:
    """Turn windows into numbers and verdicts; `apart` is why the models were measured in turn, if so."""
    told = Told(
        tier=spec.protocol.tier.value,
        slo=spec.slo,
        is_open=spec.load.is_open,
        settled=all(state.settled for state in warmth.values()),
        codes=["on_battery"] * on_battery() + ["idle_technique"] * idle,
        apart=apart,
        held={who: bodies.held(who) for who in WHO},
        unknown=bodies.unknown,
        no_energy=recorder.no_energy_reason(),
        planned=planned(spec.protocol.blocks, in_turn=apart is not None),
    )
    found = conclusions(recorder.windows, told, graded)
    recorder.windows = found.windows
    valid = valid_blocks(found.windows)
    return Findings(
        **ran(engines, probed, eager),
        meter=MeterChoice(used=recorder.used, refused=meters.refused, notes=meters.told()),
        windows=found.windows,
        baseline=bodies.subject("baseline", found.metrics["baseline"], valid),
        candidate=bodies.subject("candidate", found.metrics["candidate"], valid),
        ratios=found.ratios,
        verdicts=found.verdicts,
        solved=found.solved.tasks,
        validity=found.validity,
        codes=found.codes,
        conclusions=code(),
        warmup=warmth,
        prompts=recorder.sent.counts,
        difficulty=asked
        and summarise(asked, found.windows, told.tier, found.validity, told.no_energy),
        **found.others,
    )


def ran(
    engines: Mapping[Who, Engine],
    probed: Mapping[Who, float | None],
    eager: Mapping[Who, str | None],
) -> dict[str, EngineFacts]:
    """By field of the findings, what is known of the engine, or of both."""

    def facts(engine: Engine, models: Sequence[Who]) -> EngineFacts:
        return EngineFacts(
            name=engine.name,
            version=engine.version(),
            changed=changed(engine),
            system=engine.system(),
            probe={who: probed[who] for who in models if who in probed}
            if "probe" in engine.abilities
            else {},
            eager={who: why for who in models if (why := eager.get(who))},
        )

    if engines["baseline"] == engines["candidate"]:
        return {"engine": facts(engines["baseline"], WHO)}
    return {
        "engine": facts(engines["baseline"], ["baseline"]),
        "candidate_engine": facts(engines["candidate"], ["candidate"]),
    }
