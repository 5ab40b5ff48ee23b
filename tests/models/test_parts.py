"""A model's parts, whatever the architecture calls them."""

from functools import partial

import pytest
import torch
from helpers.architectures import DECODERS
from transformers import AutoConfig, AutoModelForCausalLM

from greenbench.errors import Unsupported
from greenbench.models.parts import (
    decoder_blocks,
    final_norm,
    keep_layers,
    marks,
    output_head,
    positions,
    returns_tuple,
    rewire,
    weight_count,
)

KINDS = ("gpt2", "bloom", "opt", "gpt_neox", "llama", "mixtral")


def random(kind):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        AutoConfig.for_model(kind, **DECODERS[kind], vocab_size=64, pad_token_id=0)
    ).eval()


@pytest.fixture(params=KINDS)
def model(request):
    return random(request.param)


def test_blocks_norm_and_head_are_found_and_give_the_logits(model):
    assert len(decoder_blocks(model)) == 4
    ids = torch.arange(1, 7)[None]
    seen = []
    handle = final_norm(model).register_forward_hook(lambda *call: seen.append(call[-1]))
    with torch.no_grad():
        logits = model(ids).logits
        handle.remove()
        assert torch.allclose(output_head(model)(seen[0]), logits, atol=1e-5)


def test_a_block_that_is_rewired_is_called_alike_and_comes_back(model):
    ids = torch.arange(1, 7)[None]
    with torch.no_grad():
        before = model(ids).logits
        called = []

        def instead(index, run, hidden, kwargs):
            called.append((index, hidden.shape, "attention_mask" in kwargs))
            return run(hidden, **kwargs)

        tupled = returns_tuple(model)
        undo = [
            rewire(block, partial(instead, index), tupled=tupled)
            for index, block in enumerate(decoder_blocks(model))
        ]
        assert torch.equal(model(ids).logits, before)
        assert [index for index, *_ in called] == [0, 1, 2, 3]
        assert {shape for _, shape, _ in called} == {torch.Size([1, 6, 64])}
        for each in undo:
            each()
        assert not any("forward" in vars(block) for block in decoder_blocks(model))
        assert torch.equal(model(ids).logits, before)
    assert len(called) == 4


@pytest.mark.parametrize(
    ("kind", "limit"), [("gpt2", 256), ("mpt", 256), ("llama", 256), ("bloom", None)]
)
def test_positions_by_whatever_name(kind, limit):
    assert positions(AutoConfig.for_model(kind, **DECODERS[kind])) == limit


def test_a_model_without_a_list_of_blocks_is_told_in_one_sentence():
    model = random("llama")
    model.config.num_hidden_layers = 7
    with pytest.raises(Unsupported, match="no list of 7 blocks"):
        decoder_blocks(model)


def test_lists_by_block_and_lists_of_blocks_go_with_the_blocks():
    config = AutoConfig.for_model("qwen2_moe", **DECODERS["qwen2_moe"], mlp_only_layers=[0, 2])
    config.layer_types = ["a", "b", "c", "d"]
    keep_layers(config, [1, 2])
    assert config.layer_types == ["b", "c"]
    assert config.mlp_only_layers == [1]
    assert config.num_hidden_layers == 2
    neo = AutoConfig.for_model("gpt_neo", **DECODERS["gpt_neo"])
    keep_layers(neo, [0, 1, 3])
    assert neo.attention_layers == ["global", "local", "local"]
    again = type(neo).from_dict(neo.to_dict())
    assert again.attention_layers == neo.attention_layers


def test_the_share_that_changed_is_of_matrices_and_their_slices():
    model = random("mixtral")
    blocks = decoder_blocks(model)
    first = marks(blocks)
    assert first.total == sum(w.numel() for w in blocks.parameters() if w.ndim > 1)
    assert first.share_changed(marks(blocks)) == 0
    expert = blocks[1].mlp.experts.gate_up_proj
    with torch.no_grad():
        blocks[0].input_layernorm.weight.fill_(2)
        assert first.share_changed(marks(blocks)) == 0  # a vector
        expert[2, 5, 7] += 1
    share = expert[2].numel() / first.total
    assert first.share_changed(marks(blocks)) == pytest.approx(share)
    assert first.share_changed(marks(random("mixtral").bfloat16().model.layers)) == 1


def test_packed_matrices_count_by_what_they_stand_for():
    from bitsandbytes.nn import Linear4bit

    plain = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.LayerNorm(32))
    packed = torch.nn.Sequential(Linear4bit(64, 32), torch.nn.LayerNorm(32)).to("cpu")
    assert packed[0].weight.numel() < 64 * 32
    assert weight_count(packed) == weight_count(plain) == 64 * 32
