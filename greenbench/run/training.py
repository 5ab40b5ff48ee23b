"""A run that trains: the baseline's recipe and the candidate's, from the same checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from greenbench.analysis import footprint
from greenbench.analysis.conclusions import code
from greenbench.analysis.training.conclusions import Drawn, drawn
from greenbench.analysis.training.curves import Losses, Raw, Tried, best, sound_stretches
from greenbench.analysis.trust.restated import NEARLY
from greenbench.engines.engine import Build, Engine, Observed
from greenbench.errors import Unsupported, UserError
from greenbench.machine.cpu_load import on_battery
from greenbench.machine.detect import Machine
from greenbench.measure import training as measured
from greenbench.measure.training import Trainee
from greenbench.models import corpus, files
from greenbench.models.packing import packing
from greenbench.run.conclude import NOTHING, ran
from greenbench.run.preflight import suited
from greenbench.run.workbench import Bench, Stages, join_wall_log
from greenbench.schema.enums import Dtype
from greenbench.schema.metrics import DEVICE_PEAK_BYTES, HOST_PEAK_BYTES
from greenbench.schema.quantity import missing
from greenbench.schema.record import Findings, MeterChoice, Subject
from greenbench.schema.spec import TIERS, RunSpec
from greenbench.schema.technique import AppliedTechnique
from greenbench.schema.training.record import Facts
from greenbench.schema.training.spec import TrainingSpec
from greenbench.schema.window import WHO, Who
from greenbench.techniques.recipe import Plan, Recipe

NO_FILES = "what was trained is in no file"
UNMETERED = "what a recipe makes of a model before the first step (adapters, packed weights) is in no window"
AS_WEIGHTS = 4
"""Weights, gradients and two moments are as large as the weights alone, times this."""
ROOM = 1.2
"""Stretches must be expected to last by as much longer than a tier promises: some are quicker than others."""


class Made(NamedTuple):
    """What a recipe came to, once it has been made."""

    facts: Facts
    parameters: int
    layers: int
    dtypes: Mapping[str, int]


def refuse_training(spec: RunSpec, machine: Machine, engine: Engine) -> None:
    """Raise Unsupported where models cannot be trained as asked; nothing is loaded."""
    if engine.name != "transformers":
        raise Unsupported(
            f"engine={engine.name} only serves, and workload={spec.workload.name} trains: leave engine out."
        )
    if len(machine.uuids) > 1:
        raise Unsupported(
            f"workload={spec.workload.name} trains on one device, and device=cuda_all has several GPUs: say "
            "device=cuda:0."
        )


def refuse_size(build: Build, machine: Machine, engine: Engine) -> None:
    """Raise Unsupported where full training in float32, which the baseline's is, has no room; nothing is
    loaded."""
    plain = replace(build, model=replace(build.model, dtype=Dtype.float32))
    needed = AS_WEIGHTS * engine.room_bytes(plain)
    if needed > machine.memory_bytes:
        raise Unsupported(
            f"Model {build.model.name} needs {needed / 1e9:.3g} GB to be trained in full, as the baseline is "
            "(16 bytes a parameter: weights, gradients and AdamW's two moments in float32), and "
            f"{machine.device_name} has {machine.memory_bytes / 1e9:.3g} GB: take a smaller model."
        )


def told(bench: Bench, stages: Stages) -> Findings:
    """The story of a run that trains: tune, train, conclude."""
    spec, recorder = bench.spec, bench.recorder
    with stages("load"):
        refuse_training(spec, bench.machine, bench.engines["baseline"])
        base = suited(spec, bench.machine)["baseline"]
        refuse_size(base, bench.machine, bench.engines["baseline"])
        starts = _Starts(bench, base.directory)
    with stages("idle"):
        recorder.idle("empty", spec.protocol.idle_s)
    factors = {who: plan.rate for who, plan in starts.plans.items()}
    with stages("tune"):
        found = measured.tune(recorder, starts, spec.training, factors, stages.progress)
    tier_s, _ = TIERS[spec.protocol.tier.value]
    expected_s = measured.expected_s(recorder.windows, spec.training)
    _require_lasting(spec, expected_s, max(recorder.shortest_s, ROOM * tier_s))
    tried = [Tried(*each) for each in found]
    rates: dict[Who, float] = {who: best(tried, who) for who in WHO}
    with stages("train"):
        done = measured.train(recorder, starts, spec.training, rates, spec.seed, stages.progress)
    lasted = [window.end_s - window.start_s for window in sound_stretches(recorder.windows)]
    _require_lasting(spec, min(lasted, default=tier_s), NEARLY * tier_s)
    with stages("finish"):
        join_wall_log(spec, recorder)
        raw = Raw({who: starts.made[who].facts for who in WHO}, tried, [Losses(*d) for d in done])
        return _findings(bench, starts, base.directory, raw)


def _require_lasting(spec: RunSpec, lasts_s: float, least_s: float) -> None:
    """Raise UserError where a stretch of so many seconds is too short for the meter or the tier."""
    if lasts_s < least_s:
        raise UserError(
            f"A stretch of training between two evaluations lasts about {lasts_s:.2g} s, and the meter and "
            f"protocol.tier={spec.protocol.tier.value} ask for {least_s:.2g} s or more: say fewer "
            "training.evaluations, or more training.tokens."
        )


def _require_tokens(training: TrainingSpec, known: int) -> None:
    """Raise UserError where the baseline would read a text twice."""
    if known < training.tokens:
        raise UserError(
            f"The text to train on has {known:,} tokens in sequences of {training.sequence} or fewer, and "
            f"training.tokens={training.tokens} would read some of it twice: say fewer, or take a larger "
            "training.dataset."
        )


def _findings(bench: Bench, starts: _Starts, directory: Path, raw: Raw) -> Findings:
    spec, recorder = bench.spec, bench.recorder
    found = drawn(
        recorder.windows,
        raw,
        spec.protocol.tier.value,
        ["on_battery"] * on_battery(),
        recorder.no_energy_reason(),
    )
    return Findings(
        **ran(bench.engines, NOTHING, NOTHING),
        model=files.facts(spec.model, directory),
        techniques=[_applied(each) for each in spec.technique.values()],
        meter=MeterChoice(
            used=recorder.used, refused=bench.meters.refused, notes=bench.meters.told()
        ),
        windows=found.windows,
        baseline=_subject(found, "baseline", starts.made["baseline"]),
        candidate=_subject(found, "candidate", starts.made["candidate"]),
        ratios=found.ratios,
        verdicts=found.verdicts,
        training=found.training,
        conclusions=code(),
        validity=found.validity,
        codes=found.codes,
        idle=found.idle,
        design="sequential",
        design_reason="two trainings run one after the other, in random order with each seed",
    )


def _applied(technique: Recipe) -> AppliedTechnique:
    return AppliedTechnique(
        name=technique.name,
        family=technique.family,
        summary=technique.summary,
        paper=technique.paper,
        lossless=False,
        promise=technique.promise(),
        prepare_s=0.0,
        prepare_energy=missing("J", UNMETERED),
    )


def _subject(found: Drawn, who: Who, made: Made) -> Subject:
    mine = [window for window in found.windows if window.phase == "train"]
    alone = dict.fromkeys((HOST_PEAK_BYTES.name, DEVICE_PEAK_BYTES.name), 0)
    return Subject(
        parameters=made.parameters,
        layers=made.layers,
        dtypes=dict(made.dtypes),
        checkpoint_reason=NO_FILES,
        metrics=found.metrics[who]
        | footprint.byte_counts(mine, who, sum(made.dtypes.values()), alone),
    )


class _Starts:
    """Loads the checkpoint anew for each training."""

    def __init__(self, bench: Bench, directory: Path) -> None:
        from greenbench.engines.transformers.load import config, load_tokenizer
        from greenbench.techniques.training.batches import Texts
        from greenbench.techniques.training.mixing import mixing, refuse_kind
        from greenbench.techniques.training.trainee import encoder

        spec, self._machine = bench.spec, bench.machine
        known, self._mixing = config(spec.model, directory), mixing(spec)
        if packed := packing(known):
            raise Unsupported(
                f"Model {spec.model.name} is packed ({packed}), and is not trained: take the model that "
                "it was made from."
            )
        refuse_kind(self._mixing, known)
        self._spec, self._directory = spec, directory
        tokenizer = load_tokenizer(spec.model, directory)
        self._padding, encode = tokenizer.pad_token_id, encoder(tokenizer)
        self._text, self._held_out, self._held_out_to_tune = (
            Texts(part, encode) for part in corpus.read(spec.training)
        )
        _require_tokens(spec.training, self._text.tokens(spec.training.sequence))
        # until a model is there that says which precisions its code mixes
        self.plans = _plans(spec, Plan(spec.training.batch_size, "float32"))
        self.made: dict[Who, Made] = {}

    @contextmanager
    def __call__(self, who: Who, seed: int, rate: float) -> Iterator[tuple[Trainee, Observed]]:
        from greenbench.engines.transformers.load import empty_caches, load_model
        from greenbench.engines.transformers.served import OnDevice
        from greenbench.techniques.training.mixing import refuse_model
        from greenbench.techniques.training.trainee import Budget, baseline
        from greenbench.techniques.training.trainee import Trainee as Live

        training = self._spec.training
        plain = replace(self._spec.model, dtype=Dtype.float32)
        model = load_model(plain, self._directory, self._machine.device_map)
        observed = OnDevice(model.device)
        tunes = seed == measured.TUNING
        order = seed if tunes else self._spec.seed * training.seeds + seed
        tokens = training.tuning_tokens if tunes else training.tokens
        budget = Budget(tokens, training.sequence, order, self._padding)
        held_out = self._held_out_to_tune if tunes else self._held_out
        if not self.made:
            refuse_model(self._mixing, model)
            self.plans = _plans(self._spec, baseline(training, model))
        plan = self.plans[who]
        trainee = Live(model, plan, rate, budget, self._text, held_out)
        del model
        self.made[who] = _made(trainee, plan, rate)
        try:
            yield trainee, observed
        finally:
            trainee.close()
            empty_caches()


def _plans(spec: RunSpec, plain: Plan) -> dict[Who, Plan]:
    """Of both recipes; the candidate's is the baseline's, `plain`, with its own parts."""
    return {"baseline": plain, "candidate": _with(plain, list(spec.technique.values()))}


def _with(plan: Plan, stack: Sequence[Any]) -> Plan:
    for technique in stack:
        plan = technique.onto(plan)
    return plan


def _made(trainee: Any, plan: Plan, rate: float) -> Made:
    facts = Facts(
        optimizer=plan.optimizer_name,
        precision=plan.precision,
        batch_size=plan.batch_size,
        accumulation=plan.accumulation,
        trained=trainee.trained,
        learning_rate=rate,
    )
    return Made(facts, *trainee.body())
