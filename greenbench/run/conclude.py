"""The steps of a run that take more than a line: what `run` tells, these do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from greenbench.analysis import blocks, disturbances, footprint
from greenbench.analysis.difficulty import Asked, summarise
from greenbench.analysis.load_curve import load_codes, load_curve
from greenbench.analysis.solved import Graded, solved
from greenbench.analysis.verdicts import judge_exact
from greenbench.analysis.waiting import waiting, waiting_codes
from greenbench.engines.engine import Engine, Footprint
from greenbench.machine.cpu_load import on_battery
from greenbench.measure.recorder import Recorder
from greenbench.meters import OpenMeters
from greenbench.run.checkpoint import Content
from greenbench.schema.codes import validity
from greenbench.schema.knobs import changed
from greenbench.schema.metrics import (
    DEVICE_PEAK_BYTES,
    ENERGY_PER_SOLVED,
    ENERGY_PER_TOKEN,
    HOST_PEAK_BYTES,
    MODEL_BYTES,
    SHARE_SOLVED,
    TOKENS_PER_ANSWER,
)
from greenbench.schema.quantity import Quantity
from greenbench.schema.record import EngineFacts, Findings, MeterChoice, Settling, Subject
from greenbench.schema.solved import Solving
from greenbench.schema.spec import RunSpec
from greenbench.schema.traffic import LoadCurve
from greenbench.schema.verdict import Verdict
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

    def verdict(self) -> dict[str, Verdict]:
        """On the bytes, where both are known."""
        before, after = (self.held(who) for who in WHO)
        if before is None or after is None:
            return {}
        return {MODEL_BYTES.ratio: judge_exact(MODEL_BYTES.ratio, before, after)}


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
    tier, reason = spec.protocol.tier.value, recorder.no_energy_reason()
    recorder.windows = disturbances.with_clock_codes(recorder.windows)
    windows = blocks.valid_blocks(recorder.windows)
    settled = all(state.settled for state in warmth.values())
    codes = disturbances.run_codes(recorder.windows, tier, settled, on_battery())
    codes += disturbances.drift_codes(windows) if apart else []
    beside = waiting(recorder.windows, reason, apart)
    codes += waiting_codes(beside, windows)
    codes += ["idle_technique"] if idle else []
    resting = blocks.idle_power(recorder.windows, reason)
    curve = _curve(spec, recorder.windows, resting, reason)
    codes = sorted({*codes, *(load_codes(recorder.windows, curve) if curve else ())})
    sound = validity(codes)
    ratios = blocks.ratios(windows, reason)
    before, after = (bodies.held(who) for who in WHO)
    ratios[MODEL_BYTES.ratio] = footprint.exact_ratio(before, after, bodies.unknown)
    subjects = {
        who: bodies.subject(who, blocks.metrics(windows, who, reason), windows) for who in WHO
    }
    energy = subjects["candidate"].metrics[ENERGY_PER_TOKEN.name]
    right = solved(graded, recorder.windows, tier, sound, reason)
    subjects = {who: _with_solved(subjects[who], right.of(who)) for who in WHO}
    ratios |= _by_name(right.of("ratio"), ratio=True)
    return Findings(
        **_ran(engines, probed, eager),
        meter=MeterChoice(used=recorder.used, refused=meters.refused, notes=meters.notes),
        windows=recorder.windows,
        baseline=subjects["baseline"],
        candidate=subjects["candidate"],
        ratios=ratios,
        verdicts=blocks.verdicts(windows, tier, sound) | bodies.verdict() | right.verdicts,
        solved=right.tasks,
        uncertainty=blocks.budgets(windows, energy, ratios[ENERGY_PER_TOKEN.ratio]),
        validity=sound,
        codes=codes,
        warmup=warmth,
        prompts=recorder.sent.counts,
        idle=resting,
        load=curve,
        waiting=beside,
        difficulty=asked and summarise(asked, recorder.windows, tier, sound, reason),
    )


def _with_solved(subject: Subject, found: Solving | None) -> Subject:
    metrics = subject.metrics | _by_name(found, ratio=False)
    return subject.model_copy(update={"metrics": metrics})


def _by_name(found: Solving | None, *, ratio: bool) -> dict[str, Quantity]:
    """What a right answer takes, beside the run's other numbers; nothing where no answers were graded."""
    if found is None:
        return {}
    each = {
        ENERGY_PER_SOLVED: found.energy_per_solved,
        TOKENS_PER_ANSWER: found.tokens_per_answer,
        SHARE_SOLVED: found.share_solved,
    }
    return {metric.ratio if ratio else metric.name: value for metric, value in each.items()}


def _curve(
    spec: RunSpec, windows: Sequence[Window], resting: Mapping[str, Quantity], no_energy: str
) -> LoadCurve | None:
    """What the windows under load show, if there are any."""
    blocks_own = (w.place.load for w in windows if w.place and w.place.series == "block")
    headline = next(blocks_own, None)
    if headline is None:
        return None
    unit: Literal["request/s", "users"] = "request/s" if spec.load.is_open else "users"
    return load_curve(windows, resting, spec.slo, unit, headline, no_energy)


def _ran(
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
