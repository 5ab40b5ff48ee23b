"""Records of trainings with known watts and losses: made of windows whose numbers follow from each other."""

from greenbench.analysis.training.conclusions import drawn
from greenbench.analysis.training.curves import Losses, Raw, Tried
from greenbench.campaign.identity import run_key
from greenbench.measure.training import milestones
from greenbench.schema.metrics import HOST_PEAK_BYTES
from greenbench.schema.quantity import missing
from greenbench.schema.record import MeterChoice, Record, Subject
from greenbench.schema.technique import AppliedTechnique, Promise
from greenbench.schema.training.record import Facts
from greenbench.schema.training.spec import TrainingSpec
from greenbench.schema.window import WHO, Place, Window
from helpers import factory

SPEC = TrainingSpec(
    tokens=4000, evaluations=4, longer=1.5, seeds=3, learning_rates=[1e-4, 1e-3], tuning_tokens=1000
)
STEP_S = 0.5
"""Of 100 tokens."""


def window(who, phase, tokens, start_s, place=None):
    """RAPL's, at the factory's watts: 40 W of the baseline, 32 W of the candidate."""
    end_s = start_s + tokens / 100 * STEP_S
    return Window(
        phase=phase, who=who, place=place, start_s=start_s, end_s=end_s, iterations=tokens // 100,
        tokens=tokens, prompt_tokens=0, energy=[factory.span(who, start_s, end_s)],
        host_peak_bytes=2**31 if who == "baseline" else 2**30,
    )  # fmt: skip


def record(technique="adafactor", falls=1e-3, slower=(1.0, 1.0, 1.0), tier="smoke"):
    """Both lose `falls` nats a token from 10 on; the candidate so many times slower, by seed."""
    windows, courses, now_s = [], [], 0.0
    for who in WHO:
        for _ in SPEC.learning_rates:
            windows.append(window(who, "tune", SPEC.tuning_tokens, now_s))
            now_s += 100
    for seed, less in enumerate(slower):
        for position, who in enumerate(WHO):
            share, before, losses = 1.0 if who == "baseline" else less, 0, [10.0]
            for least in milestones(SPEC, who):
                place = Place(series="seed", unit=seed, position=position)
                windows.append(window(who, "train", least - before, now_s, place))
                before, now_s = least, now_s + 100
                losses.append(10 - falls * least / share)
            courses.append(Losses(who, seed, losses))
    tried = [Tried(who, rate, 9.0) for who in WHO for rate in SPEC.learning_rates]
    facts = {who: _facts("adamw" if who == "baseline" else technique) for who in WHO}
    found = drawn(windows, Raw(facts, tried, courses), tier, [], "")
    training = {name: getattr(SPEC, name) for name in SPEC.__dataclass_fields__}
    resolved = factory.spec(
        technique=[{"name": technique}], training=training, protocol={"tier": tier}
    )
    plain = factory.record()
    return Record(
        key=run_key(resolved), name=technique, status="completed", spec=resolved,
        command=plain.command, started_at=plain.started_at, environment=plain.environment,
        model=plain.model, engine=plain.engine, meter=MeterChoice(used=["rapl"], refused={}),
        techniques=[_applied(technique)], windows=found.windows, ratios=found.ratios,
        verdicts=found.verdicts, training=found.training, validity=found.validity, codes=found.codes,
        idle=found.idle,
        baseline=_subject(found, "baseline", 2**31), candidate=_subject(found, "candidate", 2**30),
        stages_s={"start": 0.1, "tune": 20.0, "train": 60.0, "total": 80.1},
    )  # fmt: skip


def _facts(optimizer):
    return Facts(optimizer=optimizer, precision="float32", batch_size=8, accumulation=1,
                 trained=134_515_008, learning_rate=1e-4)  # fmt: skip


def _applied(name):
    return AppliedTechnique(
        name=name, family="training", summary="a recipe", paper=None, lossless=False,
        promise=Promise(note="state"), prepare_s=0.0, prepare_energy=missing("J", "it prepares nothing"),
    )  # fmt: skip


def _subject(found, who, peak):
    marks = {HOST_PEAK_BYTES.name: factory.subject(who).metrics[HOST_PEAK_BYTES.name]}
    marks = {name: each.model_copy(update={"value": float(peak)}) for name, each in marks.items()}
    return Subject(parameters=134_515_008, layers=30, dtypes={"float32": 538_060_032},
                   metrics=found.metrics[who] | marks)  # fmt: skip
