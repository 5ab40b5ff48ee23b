"""Each recipe really trains, from the same checkpoint on the same text, and changes its own part."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.architectures import DECODERS
from helpers.techniques import CPU, HERE, RECIPES
from helpers.tiny import tiny_llama
from torch._inductor.runtime.runtime_utils import cache_dir
from transformers import AutoConfig, AutoModelForCausalLM

from greenbench.campaign.compose import plan
from greenbench.errors import Unsupported, UserError
from greenbench.schema.technique import ADAPTERS
from greenbench.schema.training.spec import TrainingSpec
from greenbench.techniques import check_order
from greenbench.techniques.recipe import Plan
from greenbench.techniques.training.adapters import Lora
from greenbench.techniques.training.batches import IGNORED, Texts, batches
from greenbench.techniques.training.mixing import mixing, refuse_kind, refuse_model
from greenbench.techniques.training.trainee import Budget, Trainee, baseline

WORDS = ["the sea and the sky and the sand", "a ship on the sea", "rain over the hills and the sea"]
SPEC = TrainingSpec(tokens=2000, sequence=32, batch_size=3)
PLAIN = Plan(3, "float32")


def encode(text):
    return [*(2 + ord(letter) % 254 for letter in text), 2]


def trainee(planned, rate=3e-3, seed=0, tokens=2000):
    text = Texts(WORDS * 8, encode)
    budget = Budget(tokens, 32, seed, padding=0)
    return Trainee(tiny_llama(), planned, rate, budget, text, Texts(WORDS, encode))


@pytest.mark.parametrize("name", sorted({*RECIPES} - {"train_compile"}))
def test_a_recipe_lowers_the_loss_on_held_out_text(name):
    (recipe,) = stack_of(name)
    try:
        recipe.check(CPU, HERE)
    except Unsupported as reason:
        pytest.skip(str(reason))
    planned = recipe.onto(PLAIN)
    mine = trainee(planned, rate=3e-3 * planned.rate)
    before = mine.loss()
    for _ in range(25):
        mine.step()
    assert mine.loss() < before - 0.05
    assert recipe.promise().note
    parameters, layers, _ = mine.body()
    assert 0 < mine.trained <= parameters
    assert layers == 4


def apart():
    """DBRX's experts add what a product in bfloat16 gives to a sum in float32."""
    known = AutoConfig.for_model("dbrx", **DECODERS["dbrx"], vocab_size=256)
    return AutoModelForCausalLM.from_config(known)


def stack_of(name):
    spec = plan([f"technique={name}", "workload=finetune", "protocol=smoke"], multirun=False)[
        0
    ].spec
    return list(spec.technique.values())


def test_the_baseline_is_adamw_over_all_weights_as_a_plain_loop_has_it():
    """The same steps by hand: its weights are equal bit by bit."""
    mine, model = trainee(PLAIN), tiny_llama().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=0.0)
    text = batches(Texts(WORDS * 8, encode), 0, 3, 32, 0, packed=False, whole=False)
    read = 0
    for _ in range(3):
        mine.step()
        batch = next(text)
        warm = min(1.0, (read + batch.tokens) / (0.05 * 2000))
        optimizer.param_groups[0]["lr"] = 3e-3 * warm
        model(input_ids=batch.ids, attention_mask=batch.mask, labels=batch.labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        read += batch.tokens
    assert mine.tokens == read
    pairs = zip(mine._model.parameters(), model.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in pairs)
    assert mine.trained == sum(weight.numel() for weight in model.parameters())


def test_text_comes_in_the_same_order_for_all_and_packing_leaves_no_padding():
    def read(size, packed):
        found = batches(Texts(WORDS * 8, encode), 7, size, 64, 0, packed=packed, whole=False)
        return [next(found) for _ in range(6)]

    alone, together = read(1, packed=False), read(2, packed=False)
    rows = [batch.ids[0][batch.mask[0] == 1].tolist() for batch in alone]
    pairs = [
        ids[mask == 1].tolist() for b in together for ids, mask in zip(b.ids, b.mask, strict=True)
    ]
    assert pairs[:6] == rows
    assert all(batch.mask.all() for batch in read(2, packed=True))
    assert any(not batch.mask.all() for batch in together)
    for batch in together:
        assert batch.tokens == int(batch.mask.sum())
        assert ((batch.labels == IGNORED) == (batch.mask == 0)).all()


def test_accumulated_batches_step_as_one_of_all_their_texts():
    """2 x 4 as 8, and texts of unequal length: each token counts as much."""
    one = Texts(
        [letter * length for letter in "ab" for length in (2, 3, 4, 20, 25, 28, 5, 9)], encode
    )
    budget = Budget(100, 32, 0, padding=0)
    pair = [
        Trainee(tiny_llama(), planned, 1e-2, budget, one, one)
        for planned in (Plan(8, "float32"), Plan(4, "float32", accumulation=2))
    ]
    assert pair[0].loss() == pytest.approx(pair[1].loss())
    for each in pair:
        each.step()
    both = zip(pair[0]._model.parameters(), pair[1]._model.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in both)


def test_a_first_step_learns_as_its_own_tokens_say():
    """Of a hundred tokens 5 % warm it: the first step reads more than that."""
    mine, small = trainee(PLAIN, tokens=100), trainee(PLAIN, tokens=10**6)
    read = [each.step().tokens for each in (mine, small)]
    rates = [each._optimizer.param_groups[0]["lr"] for each in (mine, small)]
    assert rates == pytest.approx([3e-3, 3e-3 * read[1] / (0.05 * 10**6)])


def test_texts_are_tokenized_before_any_is_read():
    heard = []
    made = Texts(WORDS, lambda text: heard.append(text) or [1, 2])
    assert heard == WORDS
    assert [made[0], next(made.in_order(0))] == [[1, 2], [1, 2]]
    assert heard == WORDS


@pytest.mark.parametrize("name", ["freeze_blocks", "qlora"])
def test_recipes_of_which_weights_are_trained_work_on_top_of_checkpointing(name):
    """Nothing below the last frozen block is worth a gradient; packed weights need theirs."""
    mine = trainee(stack_of(name)[0].onto(replace(PLAIN, checkpointing=True)))
    plain = trainee(stack_of(name)[0].onto(PLAIN))
    asked = []
    ends = mine._model.get_input_embeddings()
    ends.register_forward_hook(lambda *found: asked.append(found[2].requires_grad))
    for _ in range(3):
        mine.step(), plain.step()
    assert set(asked) == {name == "qlora"}
    assert mine.loss() == pytest.approx(plain.loss(), rel=1e-4)


def test_each_compiled_training_compiles_anew():
    """What was compiled before is forgotten; its cache on disk is the trainee's own, and goes with it."""
    made = []

    def counted(graph, _):
        made.append(graph)
        return graph.forward

    once = torch.compile(lambda number: number + 1, backend=counted)
    before = cache_dir()
    once(torch.ones(2)), once(torch.ones(2))
    assert len(made) == 1
    mine = trainee(replace(PLAIN, compiled=True))
    assert cache_dir() != before
    once(torch.ones(2))
    assert len(made) == 2
    mine.close()
    assert cache_dir() == before


def test_adapters_train_a_small_part_and_frozen_blocks_stay_as_they_are():
    lora, frozen = (trainee(stack_of(name)[0].onto(PLAIN)) for name in ("lora", "freeze_blocks"))
    assert lora.trained < 0.5 * lora.body()[0]
    assert {name for name in RECIPES if isinstance(stack_of(name)[0], Lora)} == ADAPTERS
    before = [weight.clone() for weight in frozen._model.model.layers[0].parameters()]
    last = frozen._model.model.layers[-1].mlp.up_proj.weight.clone()
    frozen.step()
    frozen.step()
    after = frozen._model.model.layers
    assert all(torch.equal(a, b) for a, b in zip(before, after[0].parameters(), strict=True))
    assert not torch.equal(last, after[-1].mlp.up_proj.weight)


@pytest.mark.parametrize("name", ["lora", "qlora"])
def test_a_gradient_reaches_every_adapter_after_an_evaluation_too(name):
    mine = trainee(stack_of(name)[0].onto(PLAIN))
    mine.loss()
    mine.step()
    begun = [weight for key, weight in mine._model.named_parameters() if "lora_B" in key]
    assert len(begun) == 4 * 7
    assert all(weight.abs().max() > 0 for weight in begun)


def test_a_training_that_diverges_has_no_loss():
    mine = trainee(PLAIN)
    next(mine._model.parameters()).data.fill_(math.inf)
    assert mine.loss() is None


def test_the_baselines_precision_is_what_was_asked_for_where_the_model_mixes():
    def found(precision, model):
        return baseline(replace(SPEC, precision=precision), model).precision

    assert found("bfloat16", tiny_llama()) == "mixed_bfloat16"
    assert found("float32", tiny_llama()) == "float32"
    assert found("auto", apart()) == "float32"
    with pytest.raises(UserError, match=r"training\.precision=bfloat16 needs .* DbrxForCausalLM"):
        found("bfloat16", apart())


def test_what_mixes_is_told_by_a_small_model_of_the_kind_or_by_the_model_itself():
    def of(*words):
        return mixing(plan(["workload=finetune", *words], multirun=False)[0].spec)

    recipe = of("technique=train_precision", "technique.train_precision.to=mixed_bfloat16")
    assert of("technique=train_precision") == of("technique=adafactor") == []
    with pytest.raises(UserError, match=r"^training\.precision=bfloat16 needs"):
        refuse_kind(of("technique=none", "training.precision=bfloat16"), apart().config)
    for refused in (refuse_kind, refuse_model):
        model = apart()
        with pytest.raises(
            UserError, match="which that of DbrxForCausalLM does not: choose another"
        ):
            refused(recipe, model.config if refused is refuse_kind else model)
        refused([], model)
    refuse_kind(recipe, tiny_llama().config)
    refuse_model(recipe, tiny_llama())
    refuse_kind(recipe, object())  # a kind that cannot be made small is left to its own weights


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["technique=adafactor", "workload=chat"],
            "technique=adafactor says how a model is trained, and workload=chat serves: say "
            "workload=finetune.",
        ),
        (
            ["technique=int8_bnb", "workload=finetune"],
            "technique=int8_bnb is of a model that serves, and workload=finetune trains one: leave it out, "
            "or say another workload.",
        ),
        (
            ["technique=[lora,freeze_blocks]", "workload=finetune"],
            "technique=freeze_blocks cannot be stacked with lora, as both choose which weights are trained: "
            "choose one.",
        ),
        (
            ["technique=none", "workload=finetune", "load.arrivals=poisson", "load.rate=1"],
            "training.tokens=200000 trains models, so that load.arrivals=poisson says nothing: leave load "
            "out.",
        ),
        (
            ["technique=none", "workload=chat", "training.seeds=3"],
            "training says nothing of workload=chat, which trains no model: say workload=finetune, or "
            "training.tokens=...",
        ),
        (
            ["technique=none", "workload=finetune", "protocol=dev", "training.seeds=3"],
            "protocol.tier=dev promises 5 blocks or more, which are the seeds of trainings, but "
            "training.seeds=3: raise it or say protocol.tier=smoke.",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_sentence_before_anything_is_loaded(words, sentence):
    with pytest.raises(UserError) as error:
        plan(words, multirun=False)
    assert str(error.value) == sentence


def test_recipes_stack_and_their_rates_multiply():
    found = plan(["technique=[lora,lion,pack_sequences]", "workload=finetune"], multirun=False)
    recipes = list(found[0].spec.technique.values())
    check_order(recipes)
    planned = PLAIN
    for recipe in recipes:
        planned = recipe.onto(planned)
    assert planned.rate == pytest.approx(1.0)
    assert planned.packed
    assert planned.optimizer_name == "lion"
    assert PLAIN.optimizer_name == "adamw"
