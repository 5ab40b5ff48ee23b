"""Width pruning leaves an ordinary smaller model, without what did the least."""

import copy
from dataclasses import replace

import pytest
import torch
from helpers.served import load
from helpers.techniques import live
from transformers import (
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from greenbench.campaign.compose import plan
from greenbench.errors import UserError
from greenbench.models.parts import decoder_blocks
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import Preparation
from greenbench.techniques.distillation.budget import Training
from greenbench.techniques.pruning.width import PruneWidth

SIZES = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "vocab_size": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
BOTH = PruneWidth(mlp_fraction=0.5, heads_fraction=1 / 3)
QUERIES = PruneWidth(mlp_fraction=0.0, heads_fraction=0.5, unit="queries")


class Letters:
    """A tokenizer of 120 symbols."""

    def __call__(self, text, return_tensors="pt", truncation=True, max_length=64):
        return {
            "input_ids": torch.tensor([[3 + ord(letter) % 120 for letter in text][:max_length]])
        }


def preparation():
    return Preparation(
        torch.device("cpu"), Letters(), lambda: ["the quick brown fox", "jumps over it"] * 3
    )


def family(name):
    torch.manual_seed(0)
    made = {
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16)),
        "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, head_dim=16)),
    }
    return made[name]().eval()


def logits(model, ids):
    with torch.inference_mode():
        return model(ids).logits


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "gemma3"])
@pytest.mark.parametrize("technique", [BOTH, QUERIES], ids=["groups", "queries"])
def test_what_is_left_is_saved_and_reloaded_as_an_ordinary_model(name, technique, tmp_path):
    model = family(name)
    with torch.no_grad():  # biases start at zero, where a wrong slice would not show
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    technique.check_model(model.config, WorkloadSpec("w"))
    promise, before = technique.promise(model), model.num_parameters()
    pruned = live(technique, model, preparation())
    assert pruned.num_parameters() / before == pytest.approx(promise.bytes_ratio)
    pruned.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.randint(3, 128, (2, 12))
    assert torch.equal(logits(again, ids), logits(pruned, ids))
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    cached, plain = (pruned.generate(ids, use_cache=use, **options) for use in (True, False))
    assert torch.equal(cached, plain)
    shapes = [again.config, decoder_blocks(pruned)[0].self_attn.k_proj.weight.shape[0]]
    size = 8 if name == "qwen2" else 16
    if technique is BOTH:
        assert (again.config.num_attention_heads, again.config.num_key_value_heads) == (4, 2)
        assert again.config.intermediate_size == 32
        assert shapes[1] == 2 * size
    else:
        assert (again.config.num_attention_heads, again.config.num_key_value_heads) == (3, 3)
        assert again.config.intermediate_size == 64
        assert shapes[1] == 3 * size


def test_neurons_and_heads_that_do_nothing_go_first(tiny):
    """In each block 64 of 128 neurons, and one of two groups of heads, and the logits stay."""
    places = [torch.randperm(128)[:64] for _ in tiny.model.layers]
    with torch.no_grad():
        for index, (block, idle) in enumerate(zip(tiny.model.layers, places, strict=True)):
            block.mlp.up_proj.weight[idle] = 0
            group = index % 2
            block.self_attn.v_proj.weight[16 * group : 16 * (group + 1)] = 0
    ids = torch.randint(3, 120, (2, 24))
    before, kept = logits(tiny, ids), copy.deepcopy(tiny.model.layers[0])
    pruned = live(PruneWidth(mlp_fraction=0.5, heads_fraction=0.5), tiny, preparation())
    assert torch.allclose(logits(pruned, ids), before, atol=1e-5)
    block = pruned.model.layers[0]
    stays = sorted(set(range(128)) - set(places[0].tolist()))
    assert torch.equal(block.mlp.gate_proj.weight, kept.mlp.gate_proj.weight[stays])
    assert torch.equal(block.mlp.down_proj.weight, kept.mlp.down_proj.weight[:, stays])
    assert torch.equal(block.self_attn.q_proj.weight, kept.self_attn.q_proj.weight[32:])
    assert torch.equal(block.self_attn.k_proj.weight, kept.self_attn.k_proj.weight[16:])


def test_the_most_active_query_of_each_group_stays(tiny):
    """Activity measured here on the whole model, by a hook of our own."""
    with torch.no_grad():
        for block in tiny.model.layers:
            block.self_attn.q_proj.weight.mul_(20)  # queries that look at different places
    technique = PruneWidth(mlp_fraction=0.0, heads_fraction=0.5, unit="queries")
    ids = torch.randint(3, 120, (2, 24))
    attention = copy.deepcopy(tiny.model.layers[0].self_attn)
    seen = torch.zeros(4)

    def watch(_, args):
        seen.add_(args[0].abs().sum((0, 1)).view(4, 16).sum(-1))

    handle = tiny.model.layers[0].self_attn.o_proj.register_forward_pre_hook(watch)
    for text in preparation().calibration():
        logits(tiny, Letters()(text)["input_ids"])
    handle.remove()
    pruned = live(technique, tiny, preparation())
    heads = [int(seen[:2].argmax()), 2 + int(seen[2:].argmax())]
    rows = [row for head in heads for row in range(16 * head, 16 * (head + 1))]
    block = pruned.model.layers[0].self_attn
    assert torch.equal(block.q_proj.weight, attention.q_proj.weight[rows])
    assert torch.equal(block.o_proj.weight, attention.o_proj.weight[:, rows])
    assert torch.equal(block.k_proj.weight, attention.k_proj.weight)
    assert logits(pruned, ids).shape == (2, 24, 256)


def test_healing_trains_what_is_left(tiny):
    with torch.no_grad():
        tiny.lm_head.weight.mul_(8)
    training = Training(tokens=4000, batch_size=2, sequence=32, learning_rate=1e-3)
    work = preparation()
    healed = live(replace(BOTH, heads_fraction=0.5, heal=training), tiny, work)
    told = work.details["distillation"]
    assert told["final_loss"] < told["loss_curve"][0][1] / 2
    assert healed.config.intermediate_size == work.details["intermediate_size"] == 64


def test_heal_composes():
    (found,) = plan(["technique=prune_width_heal"], multirun=False)[0].spec.technique.values()
    assert found.heal.minutes == 5
    assert found.label() == "prune_width(0.33, heal=5 min embeddings=False)"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mlp_fraction": 1.2}, r"mlp_fraction=1.2 is out of range: allowed is 0 or more, below 1"),
        ({"mlp_fraction": 0.0}, r"prune_width drops nothing: set"),
        ({"unit": "layers"}, r"unit=layers is unknown: allowed are groups, queries"),
        ({"passages": 0}, r"passages=0"),
        ({"heal": Training(learning_rate=0.1)}, r"prune_width\.heal has no budget"),
    ],
)
def test_a_bad_knob_is_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        PruneWidth(**changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mlp_fraction": 0.01}, r"leaves 128 of 128 neurons, which go by 8"),
        ({"mlp_fraction": 0.98}, r"leaves 0 of 128 neurons"),
        ({"heads_fraction": 0.2}, r"leaves 2 of 2 groups of heads"),
        ({"heads_fraction": 0.9}, r"leaves 0 of 2 groups of heads"),
        ({"heads_fraction": 0.9, "unit": "queries"}, r"leaves 0 of 2 heads in a group"),
    ],
)
def test_what_the_shape_does_not_allow_is_one_sentence(tiny, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        PruneWidth(**changes).check_model(tiny.config, WorkloadSpec("w"))


@pytest.mark.parametrize(
    "model",
    [
        lambda: GPTNeoXForCausalLM(
            GPTNeoXConfig(**{k: v for k, v in SIZES.items() if k != "num_key_value_heads"})
        ),
        lambda: Olmo2ForCausalLM(Olmo2Config(**SIZES)),  # its norm spans all heads
    ],
    ids=["neox", "olmo2"],
)
def test_blocks_of_another_kind_are_refused_in_one_sentence(model):
    with pytest.raises(UserError, match=r"not: use technique=prune_depth"):
        PruneWidth().check_model(model().config, WorkloadSpec("w"))


@pytest.mark.slow
def test_on_the_real_model_it_beats_dropping_at_random(smollm2):
    """Half of the neurons by activity, and the first half: the text is likelier with the former."""
    from greenbench.models.texts import passages

    spec, path = smollm2
    loss = {}
    for name in ("active", "first"):
        model, tokenizer = load(spec, path, torch.device("cpu"))
        work = Preparation(torch.device("cpu"), tokenizer, lambda: passages("calibrate"))
        if name == "first":
            for block in decoder_blocks(model):
                block.mlp.gate_proj.weight.data[768:] = 0
        else:
            live(PruneWidth(mlp_fraction=0.5, passages=8), model, work)
        ids = [
            tokenizer(text, return_tensors="pt")["input_ids"] for text in passages("evaluate")[:8]
        ]
        with torch.inference_mode():
            loss[name] = sum(float(model(each, labels=each).loss) for each in ids)
    assert loss["active"] < loss["first"]
