"""A student learns from its teacher: the loss, the student's shape, budgets, and being killed."""

import copy
import json
import math
import multiprocessing
import os
import signal
from dataclasses import replace

import pytest
import torch
from helpers.architectures import DECODERS
from helpers.techniques import live
from helpers.tiny import tiny_llama
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from greenbench.campaign.compose import plan
from greenbench.errors import UserError
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import Preparation, check_order, knobs
from greenbench.techniques.decoding.assisted import PromptLookup
from greenbench.techniques.distillation.budget import WARM, Cost, Training, uniform
from greenbench.techniques.distillation.checkpoints import Checkpoint
from greenbench.techniques.distillation.distill import Distill
from greenbench.techniques.distillation.losses import cross_entropy, divergence, hidden_distance
from greenbench.techniques.distillation.precision import precision
from greenbench.techniques.distillation.trainer import Windows, _curve, distill
from greenbench.techniques.pruning.depth import PruneDepth
from greenbench.techniques.quantization.bitsandbytes import Int8
from greenbench.techniques.quantization.kv_cache import KvQuanto

BRIEF = Training(tokens=12 * 64, batch_size=2, sequence=32, learning_rate=1e-3)


class Letters:
    """A tokenizer of 200 symbols for the tiny model."""

    eos_token_id = 2

    def __call__(self, text, return_tensors="pt", truncation=True, max_length=10_000):
        return {
            "input_ids": torch.tensor([[3 + ord(letter) % 200 for letter in text][:max_length]])
        }


def texts():
    return ["".join(chr(32 + (i * i + 7 * j) % 90) for i in range(300)) for j in range(6)]


def preparation(**changes):
    return replace(Preparation(torch.device("cpu"), Letters(), texts), **changes)


def technique(*overrides):
    (found,) = plan([*overrides], multirun=False)[0].spec.technique.values()
    return found


# The loss


def test_divergence_is_the_closed_form_times_the_temperature_squared():
    """Two classes: the teacher says 3 to 1 at this temperature, the student even odds."""
    temperature = 4.0
    teacher = torch.tensor([[[temperature * math.log(3), 0.0]]])
    student = torch.zeros(1, 1, 2, requires_grad=True)
    loss = divergence(student, teacher, temperature)
    loss.backward()
    closed = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert loss.item() == pytest.approx(temperature**2 * closed, rel=1e-6)
    assert student.grad.flatten().tolist() == pytest.approx(
        [temperature * (0.5 - 0.75), temperature * (0.5 - 0.25)], rel=1e-6
    )


def test_a_model_that_does_not_mix_precisions_is_trained_in_float32():
    """DBRX's experts add what a product in bfloat16 gives to a sum in float32."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("dbrx", **DECODERS["dbrx"], vocab_size=256)
    )
    cpu = torch.device("cpu")
    assert precision("auto", model, cpu, "key") == "float32"
    assert precision("float32", model, cpu, "key") == "float32"
    with pytest.raises(UserError, match=r"key\.precision=bfloat16 needs .* DbrxForCausalLM"):
        precision("bfloat16", model, cpu, "key")
    assert precision("bfloat16", tiny_llama(), cpu, "key") == "bfloat16"


@given(
    rows=st.integers(1, 150),
    size=st.integers(2, 40),
    temperature=st.floats(0.5, 8),
    weight=st.floats(0.1, 3),
    seed=st.integers(0, 99),
)
def test_divergence_and_its_gradient_are_those_of_torch(rows, size, temperature, weight, seed):
    dice = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(2, rows, size, generator=dice, dtype=torch.float64)).float()
    student.requires_grad_(True)
    (weight * divergence(student, teacher, temperature)).backward()
    expected = student.detach().double().requires_grad_(True)
    loss = (
        weight
        * temperature**2
        * torch.nn.functional.kl_div(
            (expected / temperature).log_softmax(-1),
            (teacher.double() / temperature).log_softmax(-1),
            log_target=True,
            reduction="batchmean",
        )
    )
    loss.backward()
    assert torch.allclose(student.grad.double(), expected.grad, atol=1e-5 * temperature)


def test_cross_entropy_looks_one_token_ahead():
    ids = torch.tensor([[0, 1, 1]])
    said = torch.log(torch.tensor([[[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]]]))
    expected = -(math.log(0.8) + math.log(0.5)) / 2
    assert float(cross_entropy(said, ids)) == pytest.approx(expected, rel=1e-6)


def test_hidden_distance_compares_the_mapped_blocks_only():
    teacher = [torch.full((1, 2, 4), float(value)) for value in (9, 1, 2, 4)]
    student = [torch.full((1, 2, 4), float(value)) for value in (0, 1, 3)]
    assert float(hidden_distance(student, teacher, [(0, 0), (1, 1)])) == pytest.approx(0.25 / 2)
    assert float(hidden_distance(student, teacher, [(1, 2)])) == pytest.approx(1 / 16)


def test_mappings():
    assert uniform(3, 12) == [3, 7, 11]
    assert uniform(24, 30)[-1] == 29
    origin = [0, 1, 5]
    assert Training().pairs(origin, 6) == [(0, 0), (1, 1), (2, 5)]
    assert Training(mapping="uniform").pairs(origin, 6) == [(0, 1), (1, 3), (2, 5)]
    assert Training(mapping="last").pairs(origin, 6) == [(2, 5)]


def test_the_first_loss_is_that_of_an_independent_computation(tiny):
    training = replace(BRIEF, tokens=1, temperature=2.0, cross_entropy=0.5, hidden=0.25)
    training = replace(training, precision="float32")
    student, work = tiny_llama(layers=4, seed=1), preparation()
    ids = Windows(work, 32).batch(0, 2)
    with torch.no_grad():
        ours, theirs = (m(ids, output_hidden_states=True) for m in (student, tiny))
        kl = torch.nn.functional.kl_div(
            (ours.logits / 2).log_softmax(-1),
            (theirs.logits / 2).softmax(-1),
            reduction="none",
        )
        said = ours.logits.log_softmax(-1)[:, :-1].gather(-1, ids[:, 1:, None]).mean()
        apart = [
            ((a - b).norm(dim=-1) / b.norm(dim=-1)).square().mean()
            for a, b in zip(ours.hidden_states[1:], theirs.hidden_states[1:], strict=True)
        ]
        expected = 4 * kl.sum(-1).mean() - 0.5 * said + 0.25 * sum(apart) / 4
    distill(student, tiny, training, work, range(4), "key")
    told = work.details["distillation"]
    assert told["steps"] == 1
    assert told["loss_curve"] == [[1, pytest.approx(float(expected), rel=1e-4)]]


# The student


def test_the_student_is_what_the_knobs_say(tiny):
    student = live(Distill(layers=0.5, training=BRIEF), copy.deepcopy(tiny), preparation())
    assert student.config.num_hidden_layers == len(student.model.layers) == 2
    narrow = Distill(layers=0.5, width=0.5, init="random", training=BRIEF)
    student = live(narrow, tiny, preparation())
    shape = student.config
    assert (shape.num_hidden_layers, shape.hidden_size, shape.intermediate_size) == (2, 32, 64)
    assert (shape.num_attention_heads, shape.num_key_value_heads) == (2, 1)
    assert student.model.layers[0].self_attn.k_proj.weight.shape == (16, 32)
    ids = torch.randint(3, 200, (2, 8))
    assert student.generate(ids, max_new_tokens=4, min_new_tokens=4).shape == (2, 12)


def test_a_student_starts_with_evenly_spread_blocks(tiny):
    """At a learning rate near nothing it still is what it started as."""
    barely = replace(BRIEF, tokens=1, learning_rate=1e-30)
    student = live(Distill(layers=0.5, training=barely), copy.deepcopy(tiny), preparation())
    for ours, theirs in zip(student.model.layers, (1, 3), strict=True):
        assert torch.equal(ours.mlp.up_proj.weight, tiny.model.layers[theirs].mlp.up_proj.weight)


@pytest.mark.slow
@pytest.mark.parametrize("knobs", [{}, {"init": "random", "width": 0.5}])
def test_what_was_put_around_the_teacher_drives_the_student(tiny, knobs):
    """Drafts are counted and checked by the student, and its cache is packed as the teacher's was."""
    ids = torch.randint(3, 200, (1, 8))
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    work, distilled = preparation(), Distill(layers=0.5, training=BRIEF, **knobs)
    drafting = PromptLookup().edit(copy.deepcopy(tiny), work)
    student = distilled.edit(drafting.model, replace(work, loop=drafting.loop)).model
    plain = live(distilled, tiny, preparation())
    assert torch.equal(drafting.loop(ids, **options), plain.generate(ids, **options))
    seen = work.observed
    assert seen["rounds"] + seen["plain_passes"] + seen["accepted"] == 6
    assert student is drafting.model
    packing = KvQuanto(q_group_size=16).edit(tiny_llama(), work)
    student = distilled.edit(packing.model, replace(work, loop=packing.loop)).model
    rounded, exact = student(ids).logits, student(ids, use_cache=False).logits
    assert not torch.equal(rounded, exact)
    assert packing.loop(ids, **options).shape == (1, 14)


@pytest.mark.parametrize("changes", [{}, {"hidden": 1.0}])
def test_a_student_comes_nearer_to_its_teacher(tiny, changes):
    with torch.no_grad():  # a teacher that has something to say
        tiny.lm_head.weight.mul_(8)
    work = preparation()
    training = replace(BRIEF, tokens=6000, **changes)
    live(Distill(layers=0.75, training=training), tiny, work)
    told = work.details["distillation"]
    assert told["final_loss"] < told["loss_curve"][0][1] / 2


def test_weights_return_to_the_dtype_and_ties_they_had():
    from transformers import LlamaForCausalLM

    config = tiny_llama().config
    config.tie_word_embeddings = True
    model = LlamaForCausalLM(config).to(torch.bfloat16).eval()
    buffers = {name: buffer.dtype for name, buffer in model.named_buffers()}
    work = preparation()
    student = live(PruneDepth(fraction=0.5, heal=BRIEF), model, work)
    assert {weight.dtype for weight in student.parameters()} == {torch.bfloat16}
    assert {name: buffer.dtype for name, buffer in student.named_buffers()} == buffers
    assert student.lm_head.weight is student.model.embed_tokens.weight
    assert not student.training
    assert all(weight.grad is None for weight in student.parameters())
    assert work.details["distillation"]["steps"] == 12
    assert len(work.details["dropped_blocks"]) == 2


def test_batches_summed_over_are_one_step(tiny):
    """Two batches of one window give the step that one batch of two gives."""
    weights = []
    for size, sums in ((2, 1), (1, 2)):
        student, work = tiny_llama(seed=1), preparation()
        training = replace(BRIEF, tokens=64 * 3, batch_size=size, accumulation=sums)
        distill(student, tiny, replace(training, precision="float32"), work, range(4), "key")
        assert work.details["distillation"]["steps"] == 3
        weights.append(torch.nn.utils.parameters_to_vector(student.parameters()).detach())
    start = torch.nn.utils.parameters_to_vector(tiny_llama(seed=1).parameters()).detach()
    assert torch.dist(*weights) < 0.02 * torch.dist(weights[0], start)


def test_embeddings_may_stay_as_they_are(tiny):
    embedding, head = (tiny.get_input_embeddings(), tiny.get_output_embeddings())
    before = [weight.detach().clone() for weight in (embedding.weight, head.weight)]
    live(PruneDepth(fraction=0.25, heal=replace(BRIEF, embeddings=False)), tiny, preparation())
    assert torch.equal(embedding.weight, before[0])
    assert torch.equal(head.weight, before[1])
    live(PruneDepth(fraction=0.25, heal=BRIEF), tiny, preparation())
    assert not torch.equal(head.weight, before[1])


# The text


def test_which_window_comes_when_follows_from_the_seed():
    windows, again = Windows(preparation(), 64), Windows(preparation(), 64)
    other = Windows(preparation(seed=1), 64)
    assert windows.tokens == 6 * 301
    once = torch.cat([windows.batch(index, 4) for index in range(7)])  # 28 windows: one pass
    assert len({tuple(row) for row in once.tolist()}) == 28
    assert torch.equal(again.batch(5, 4), windows.batch(5, 4))
    assert not torch.equal(other.batch(0, 4), windows.batch(0, 4))
    second = torch.cat([windows.batch(index, 4) for index in range(7, 14)])
    assert not torch.equal(once, second)
    assert torch.equal(once.sort(dim=0).values, second.sort(dim=0).values)


def test_text_shorter_than_a_window_is_one_window():
    assert Windows(preparation(calibration=lambda: ["abc"]), 64).batch(3, 2).shape == (2, 4)


def test_no_text_is_one_sentence():
    with pytest.raises(UserError, match="no text"):
        Windows(preparation(calibration=lambda: []), 64)


# Budgets


def test_a_token_budget_stops_at_the_first_step_that_spends_it(tiny):
    for tokens, steps in ((64, 1), (65, 2), (640, 10)):
        work = preparation()
        distill(tiny_llama(seed=1), tiny, replace(BRIEF, tokens=tokens), work, range(4), "key")
        assert work.details["distillation"]["tokens"] == 64 * steps


def test_a_joule_budget_stops_where_the_meter_says(tiny):
    """A meter that counts 10 J more each time it is read."""
    reads = []

    def meter():
        reads.append(None)
        return 1000.0 + 10 * len(reads)

    work = preparation(energy_j=meter)
    training = replace(BRIEF, tokens=None, joules=150.0)
    distill(tiny_llama(seed=1), tiny, training, work, range(4), "key")
    told = work.details["distillation"]
    assert 150 <= told["energy_j"] <= 180
    assert 0 < told["steps"] < 15


def test_a_time_budget_stops_when_the_clock_says(tiny, monkeypatch):
    """A clock that goes on by a second each time it is read."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(
        "greenbench.techniques.distillation.checkpoints.time.monotonic", lambda: next(seconds)
    )
    work = preparation()
    training = replace(BRIEF, tokens=None, minutes=0.5)
    distill(tiny_llama(seed=1), tiny, training, work, range(4), "key")
    told = work.details["distillation"]
    assert 30 <= told["seconds"] <= 36
    assert 0 < told["steps"] < 30


def test_the_first_budget_that_is_spent_ends_it():
    training = Training(minutes=1, tokens=100, joules=None)
    assert training.spent(Cost(50, 6.0, None)) == 0.5
    assert training.spent(Cost(50, 60.0, None)) == 1.0
    assert replace(training, joules=4.0).spent(Cost(50, 6.0, 3.0)) == 0.75


def test_the_rate_rises_and_falls():
    training = Training(learning_rate=0.5)
    assert training.rate(0) == 0.01
    assert training.rate(WARM) == 0.5
    assert training.rate((1 + WARM) / 2) == pytest.approx(0.25)
    assert training.rate(1) == pytest.approx(0)


def test_progress_is_told_and_the_curve_stays_short(tiny):
    heard = []
    work = preparation(progress=lambda done, total: heard.append((done, total)))
    distill(tiny_llama(seed=1), tiny, BRIEF, work, range(4), "key")
    assert heard == [(int(1000 * step / 12), 1000) for step in range(12)]
    told = work.details["distillation"]
    assert json.loads(json.dumps(told)) == told
    assert [step for step, _ in told["loss_curve"]] == list(range(1, 13))
    long = _curve([float(step) for step in range(1001)])
    assert len(long) <= 200
    assert long[0] == [6, 2.5]
    assert long[-1][0] == 1001


# Being killed

LONG = replace(BRIEF, tokens=40 * 64, checkpoint_s=0.0)


def train_in(workspace, progress=lambda done, total: None, *, again=False):
    student = tiny_llama(seed=1)
    work = preparation(
        workspace=workspace, progress=progress, energy_j=lambda: 5.0, seed=3, again=again
    )
    distill(student, tiny_llama(), LONG, work, range(4), "key")
    return student, work.details["distillation"]


def killed_at(step, workspace):
    """Kills its own process before that step."""

    def progress(done, total):
        if done >= total * step // 40:
            os.kill(os.getpid(), signal.SIGKILL)

    train_in(workspace, progress)


def killed_while_writing(workspace):
    """Kills its own process with half a checkpoint on disk."""
    save = torch.save

    def half(state, path):
        save(state, path)
        os.truncate(path, path.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half
    train_in(workspace)


@pytest.mark.slow
def test_killed_at_any_step_it_ends_with_the_same_weights(tmp_path):
    whole, _ = train_in(None)
    spawn = multiprocessing.get_context("spawn")
    for job, arguments in ((killed_at, (11, tmp_path)), (killed_while_writing, (tmp_path,))):
        child = spawn.Process(target=job, args=arguments)
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
    assert list(tmp_path.glob(".training.*.tmp")), "it was killed while it wrote"
    again, told = train_in(tmp_path)
    assert 1 <= told["resumed_from_step"] <= 11
    assert told["seconds_before_resuming"] > 0
    assert told["steps"] == len(told["loss_curve"]) == 40
    for (name, ours), theirs in zip(again.named_parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert list(tmp_path.iterdir()) == []


def test_prepared_again_in_one_run_it_is_not_trained_again(tmp_path):
    first, told = train_in(tmp_path, again=True)
    steps = []
    second, retold = train_in(tmp_path, lambda done, total: steps.append(done), again=True)
    assert steps == []
    assert retold["resumed_from_step"] == retold["steps"] == told["steps"] == 40
    assert retold["loss_curve"] == told["loss_curve"]
    for (name, ours), theirs in zip(second.named_parameters(), first.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_checkpoints_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    """Each takes 2 s on this clock, so the next one comes 40 s later."""
    clock = [0.0]
    monkeypatch.setattr(
        "greenbench.techniques.distillation.checkpoints.time.monotonic", lambda: clock[0]
    )

    def state():
        clock[0] += 2
        return {}

    checkpoint, kept = Checkpoint(tmp_path, 10.0), []
    while clock[0] < 150:
        clock[0] += 1
        start = clock[0]
        if checkpoint.keep(state):
            kept.append(start)
    assert kept == [10, 52, 94, 136]


def test_a_budget_counts_what_was_spent_before_the_kill(tmp_path, tiny):
    (tmp_path / "spent.json").write_text(json.dumps([100.0, 70.0]))
    work = preparation(workspace=tmp_path, energy_j=lambda: 5.0)
    training = replace(BRIEF, tokens=None, minutes=1.0)
    with pytest.raises(UserError, match="key has a budget that is spent before the first step"):
        distill(tiny_llama(seed=1), tiny, training, work, range(4), "key")
    distill(tiny_llama(seed=1), tiny, replace(training, minutes=1.668), work, range(4), "key")
    told = work.details["distillation"]
    assert told["seconds"] >= told["seconds_before_resuming"] == 100.0
    assert told["energy_j"] == told["energy_before_resuming_j"] == 70.0


# Knobs


def test_heal_composes_from_the_command_line():
    healed = technique(
        "technique=prune_depth",
        "technique.prune_depth.fraction=0.2",
        "technique.prune_depth.heal.minutes=2",
    )
    assert healed == PruneDepth(fraction=0.2, heal=Training(minutes=2.0))
    assert healed.label() == "prune_depth(0.2, heal=2 min)"
    assert knobs(healed)["heal"]["minutes"] == 2.0
    assert technique("technique=prune_depth_heal").heal.minutes == 5
    assert technique("technique=prune_depth").heal == Training()
    assert PruneDepth().label() == "prune_depth"
    turned = Training(tokens=10**6, learning_rate=1e-3)
    assert str(turned) == "1e+06 tokens learning_rate=0.001"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("minutes=0", r"heal\.minutes=0.*more than 0, or null"),
        ("joules=-1", r"heal\.joules=-1.*more than 0"),
        ("learning_rate=0.1", r"heal has no budget: set its minutes, tokens or joules"),
        ("mapping=odd", r"heal\.mapping=odd is unknown: allowed are last, origin, uniform"),
        ("precision=int3", r"heal\.precision=int3 is unknown"),
        ("temperature=0", r"heal\.temperature=0"),
        ("batch_size=0", r"heal\.batch_size=0"),
        ("hidden=-1", r"heal\.hidden=-1"),
        ("minuts=1", r"heal\.minuts is not a key"),
    ],
)
def test_a_bad_knob_is_one_sentence(override, sentence):
    budget = [] if override.startswith(("minut", "learning")) else ["minutes=1"]
    knobs_ = [f"technique.prune_depth.heal.{value}" for value in (*budget, override)]
    with pytest.raises(UserError, match=sentence):
        technique("technique=prune_depth", *knobs_)


def test_a_joule_budget_without_a_meter_is_one_sentence(tiny):
    healed = PruneDepth(fraction=0.25, heal=Training(joules=5.0))
    lost = iter([1.0, 2.0, 3.0])
    for meter in (lambda: None, lambda: next(lost, None)):  # never there, or gone on the way
        with pytest.raises(UserError, match=r"prune_depth\.heal\.joules=5 cannot be kept, as no"):
            live(healed, copy.deepcopy(tiny), preparation(energy_j=meter))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"layers": 1.5}, r"layers=1.5 is out of range: .* at most 1 \(the teacher's\)"),
        ({"width": 2.0, "init": "random"}, r"width=2.0 is out of range"),
        ({"layers": 1.0}, r"layers=1.0 is out of range: allowed is below 1 where width=1"),
        ({"width": 0.5}, r"width=0.5 cannot start from the teacher's weights"),
        ({"init": "odd"}, r"init=odd is unknown: allowed are copy, random"),
        (
            {"width": 0.5, "init": "random", "training": Training(minutes=1, hidden=1)},
            r"hidden=1 compares hidden states of equal width",
        ),
        ({"training": Training()}, r"training has no budget"),
        (
            {"init": "random", "training": Training(minutes=1, embeddings=False)},
            r"random embeddings, which must be trained",
        ),
    ],
)
def test_a_student_that_cannot_be_is_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        Distill(**changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"layers": 0.1}, "leaves 0 of 4 blocks"),
        ({"layers": 0.95}, "leaves 4 of 4 blocks"),
        ({"width": 0.1, "init": "random"}, "leaves 0 of 2 key-value heads"),
    ],
)
def test_a_student_that_the_model_has_no_room_for_is_one_sentence(tiny, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        Distill(**changes).check_model(tiny.config, WorkloadSpec("w"))


def test_packed_weights_are_not_trained():
    check_order([Int8(), PruneDepth()])
    for trains in (PruneDepth(heal=Training(minutes=1)), Distill()):
        with pytest.raises(UserError, match="packs the weights"):
            check_order([Int8(), trains])


# On the real model


def bits_per_byte(model, tokenizer, texts):
    nats = size = 0
    for text in texts:
        ids = tokenizer(tokenizer.bos_token + text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            said = model(ids, use_cache=False).logits[0, :-1].float()
        nats += float(torch.nn.functional.cross_entropy(said, ids[0, 1:], reduction="sum"))
        size += len(text.encode())
    return nats / size / math.log(2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_healing_takes_away_half_of_what_a_fifth_of_the_blocks_cost(smollm2):
    """By the option's own configuration, on a budget of tokens that takes 3 minutes of one core."""
    from helpers.served import load

    from greenbench.models.parts import decoder_blocks
    from greenbench.models.texts import passages

    spec, path = smollm2
    healed = technique("technique=prune_depth_heal")
    healed = replace(healed, heal=replace(healed.heal, minutes=None, tokens=40_000))
    found = {}
    for name, change in (
        ("full", None),
        ("unhealed", replace(healed, heal=Training())),
        ("healed", healed),
    ):
        model, tokenizer = load(spec, path, torch.device("cpu"))
        work = Preparation(torch.device("cpu"), tokenizer, lambda: passages("calibrate"))
        model = live(change, model, work) if change else model
        assert len(decoder_blocks(model)) == (24 if change else 30)
        found[name] = bits_per_byte(model, tokenizer, passages("evaluate")[:50])
    print(found)
    assert found["full"] < found["healed"] < found["unhealed"]
    assert found["healed"] - found["full"] < (found["unhealed"] - found["full"]) / 2
