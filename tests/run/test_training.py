"""A whole run that trains, on a model of two blocks; its record holds what its windows say, and no more."""

import json
from dataclasses import replace

import pytest
from helpers import trained
from helpers.architectures import checkpoint as checkpoint_of
from safetensors.torch import load_file

from greenbench.analysis.groups.rows import groups
from greenbench.analysis.trust.checked import verified
from greenbench.analysis.trust.restated import false_tier
from greenbench.campaign.compose import plan
from greenbench.campaign.identity import identity, label, run_key
from greenbench.engines.engine import Build
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine, detect
from greenbench.models import texts
from greenbench.records.bounds import broken
from greenbench.records.store import Store, canonical, sealed
from greenbench.run import story
from greenbench.run.training import refuse_size, refuse_training
from greenbench.schema.record import Record

SHORT = [
    "workload=finetune", "protocol=smoke", "protocol.idle_s=0", "training.tokens=600", "training.longer=1",
    "training.tuning_tokens=60", "training.seeds=2", "training.sequence=32", "training.batch_size=2",
    "training.passages=2", "training.evaluations=2", "training.learning_rates=[3e-3]", "task=smoke",
    "meter=estimate", "training.precision=float32",
]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(make_model, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "tiny"
    make_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Texts of one's own, in a file."""
    path = tmp_path_factory.mktemp("rows") / "mine.jsonl"
    bodies = [body[: 30 + 4 * place] for place, body in enumerate(texts.passages("calibrate")[:60])]
    path.write_text("".join(f"{json.dumps({'body': body})}\n" for body in bodies))
    return [f"training.dataset={path}", "training.text_field=body"]


@pytest.fixture(scope="module")
def record(checkpoint, rows):
    """Of Adafactor against AdamW, on texts of one's own."""
    words = ["model=local", f"model.path={checkpoint}", "technique=adafactor", *SHORT, *rows]
    spec = plan(words, multirun=False)[0].spec
    found = story.run(spec, progress=lambda *_: None)
    known = identity(spec, detect(spec.device))
    return Record(
        key=run_key(known),
        name=label(spec),
        status="completed",
        spec=known,
        command="greenbench bench",
        started_at="2026-01-02T03:04:05+00:00",
        environment={"python": "3.11", "packages": {}, "gpus": []},
        **dict(found),
    )


def test_a_run_trains_both_recipes_with_each_seed_and_keeps_their_curves(record):
    training = record.training
    assert {(c.who, c.seed) for c in training.courses} == {
        (who, seed) for who in ("baseline", "candidate") for seed in (0, 1)
    }
    firsts = {course.points[0].loss for course in training.courses}
    assert len(firsts) == 1  # the same checkpoint and the same held-out text
    for course in training.courses:
        assert course.points[-1].loss < course.points[0].loss
        assert course.points[-1].tokens >= 600
    by_seed = {(c.who, c.seed): [point.tokens for point in c.points] for c in training.courses}
    assert by_seed["baseline", 0] == by_seed["candidate", 0] != by_seed["baseline", 1]
    assert training.facts["candidate"].optimizer == "adafactor"
    assert training.facts["baseline"].optimizer == "adamw"
    assert record.candidate.metrics["host_peak_bytes"].value > 0
    assert record.ratios["energy_to_target"].provenance == "estimated:model"
    assert {w.phase for w in record.windows} == {"tune", "train"}
    assert broken(record) is None


def test_its_data_set_is_known_by_its_content_and_its_place_is_private(record, rows):
    place = rows[0].partition("=")[2]
    assert place not in record.model_dump_json()
    assert record.spec.training.dataset == record.spec.inputs.text
    assert record.spec.training.said.endswith("precision float32")
    assert record.spec.training.said.startswith(
        f"data set {record.spec.inputs.text[:12]}, column body; 600"
    )


def test_a_text_shorter_than_the_training_is_refused_before_a_model_is_loaded(checkpoint, rows):
    words = ["model=local", f"model.path={checkpoint}", "technique=none", *SHORT, *rows]
    seen = []
    with pytest.raises(
        UserError, match=r"has 1,\d\d\d tokens in sequences of 32 or fewer, and training"
    ):
        story.run(
            plan([*words, "training.tokens=5000"], multirun=False)[0].spec,
            progress=lambda stage, *_: seen.append(stage),
        )
    assert set(seen) == {"load"}


def test_a_recipe_that_mixes_is_refused_before_a_model_that_does_not_is_loaded(tokenizer, tmp_path):
    path = checkpoint_of("dbrx", tokenizer, tmp_path / "dbrx")
    words = ["model=local", f"model.path={path}", "technique=train_precision", *SHORT]
    seen = []
    with pytest.raises(UserError) as error:
        story.run(
            plan([*words, "technique.train_precision.to=mixed_bfloat16"], multirun=False)[0].spec,
            progress=lambda stage, *_: seen.append(stage),
        )
    assert str(error.value) == (
        "technique=train_precision with products in bfloat16 needs a model whose code mixes precisions, "
        "which that of DbrxForCausalLM does not: choose another precision."
    )
    assert set(seen) == {"load"}


def test_it_stands_in_no_table_of_runs_that_serve(record):
    assert groups([record]) == []


def test_its_record_holds_and_one_that_is_tampered_with_is_refused(record, tmp_path):
    store = Store(tmp_path)
    path = store.write(record)
    found = verified(path)
    assert (found.refused, found.differs) == (None, None)
    document = json.loads(canonical(record))

    def refused(change):
        tampered = json.loads(json.dumps(document))
        change(tampered)
        path.write_text(json.dumps(sealed(tampered)))
        return verified(path).refused

    def cheaper(each):
        each["training"]["courses"][0]["to_target_j"] = 0.1

    def better(each):
        each["training"]["courses"][0]["points"][-1]["loss"] = 0.5

    def fewer(each):
        each["training"]["courses"].pop()

    def impossible(each):
        each["training"]["courses"][0]["points"][1]["tokens"] = -5

    def claimed(each):
        each["verdicts"]["energy_to_target"]["verdict"] = "saves"

    def served(each):
        each["training"] = None

    assert "training.courses.0.to_target_j is 0.1" in refused(cheaper)
    assert "its own windows say" in refused(better)
    assert refused(fewer)
    assert "its verdicts.energy_to_target.verdict is saves" in refused(claimed)
    assert "has a tokens of -5" in refused(impossible)
    assert "trainings where its workload trains" in refused(served)


def test_stretches_too_short_for_the_tier_end_the_run_once_it_is_tuned(checkpoint):
    short = ["protocol=dev" if word == "protocol=smoke" else word for word in SHORT]
    words = ["model=local", f"model.path={checkpoint}", "technique=adafactor", *short]
    seen = []
    with pytest.raises(UserError, match=r"lasts about .*tier=dev ask for 12 s or more: say fewer"):
        story.run(
            plan([*words, "training.seeds=5"], multirun=False)[0].spec,
            progress=lambda stage, *_: seen.append(stage),
        )
    assert "tune" in seen
    assert "train" not in seen


def test_a_record_whose_stretches_are_shorter_than_its_tier_promises_is_refused():
    """5 s each, and ``dev`` promises 10 s."""
    found = trained.record()
    dev = found.spec.protocol.model_copy(update={"tier": "dev"})
    assert false_tier(found) is None
    raised = found.model_copy(update={"spec": found.spec.model_copy(update={"protocol": dev})})
    assert "whose windows last 10 s or more, and its own last 5 s" in false_tier(raised)


def test_a_model_too_large_to_be_trained_in_full_is_refused_before_it_is_loaded(checkpoint):
    """Four times its weights in float32: 16 bytes a parameter."""
    words = ["model=local", f"model.path={checkpoint}", "technique=lora", *SHORT]
    spec = plan(words, multirun=False)[0].spec
    build = Build(spec.model, "safetensors", checkpoint, checkpoint)
    held = load_file(checkpoint / "model.safetensors").values()
    needed = 16 * sum(weight.numel() for weight in held)
    refuse_size(build, Machine("cpu", "a CPU", needed), spec.engine)
    with pytest.raises(Unsupported, match="to be trained in full, as the baseline is"):
        refuse_size(build, Machine("cpu", "a CPU", needed - 1), spec.engine)


def test_what_only_serves_or_has_several_gpus_trains_nothing():
    spec = plan(["workload=finetune", "technique=none"], multirun=False)[0].spec
    gpus = Machine("cuda", "H100", 1 << 34, uuids=("GPU-0", "GPU-1"))
    with pytest.raises(Unsupported, match="several GPUs"):
        refuse_training(spec, gpus, spec.engine)
    llama = plan(["engine=llama_cpp"], multirun=False)[0].spec.engine
    with pytest.raises(Unsupported, match="engine=llama_cpp only serves"):
        refuse_training(spec, replace(gpus, uuids=()), llama)
