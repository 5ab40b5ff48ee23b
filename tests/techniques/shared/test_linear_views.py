"""Matrices of any module shown as linear layers: the same numbers, the same memory."""

import pytest
import torch
from helpers.architectures import DECODERS
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from greenbench.models.parts import decoder_blocks, marks
from greenbench.techniques.shared.linear_views import (
    as_linears,
    block_linears,
    gates,
    linear_blueprint,
    linear_layers,
    reach,
)

KINDS = ("gpt2", "falcon", "mixtral", "qwen3_moe", "gpt_oss", "granitemoe", "deepseek_v3")
IDS = torch.arange(1, 13)[None]


def random(kind):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **DECODERS[kind], vocab_size=64, pad_token_id=0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.1)
    return model


@pytest.fixture(params=KINDS)
def model(request):
    return random(request.param)


@torch.no_grad()
def test_a_model_shown_as_linear_layers_says_the_same_and_comes_back(model):
    before, modules = model(IDS).logits, list(model.modules())
    with as_linears(model):
        assert torch.allclose(model(IDS).logits, before, atol=1e-4)
        assert reach(model) > 0.95
    assert list(model.modules()) == modules
    assert torch.equal(model(IDS).logits, before)


@torch.no_grad()
def test_what_is_written_into_the_layers_is_in_the_model(model):
    first = marks(decoder_blocks(model))
    with as_linears(model):
        for layer in block_linears(model):
            layer.weight.data.masked_fill_(torch.rand_like(layer.weight) < 0.5, 0)
        shown = model(IDS).logits
    assert torch.allclose(model(IDS).logits, shown, atol=1e-4)
    assert first.share_changed(marks(decoder_blocks(model))) > 0.95


def test_shapes_are_known_without_weights(model):
    config = AutoConfig.for_model(
        model.config.model_type, **DECODERS[model.config.model_type], vocab_size=64, pad_token_id=0
    )
    with as_linears(model):
        shapes = [tuple(layer.weight.shape) for layer in block_linears(model)]
    blueprint = linear_blueprint(config)
    assert [tuple(layer.weight.shape) for layer in block_linears(blueprint)] == shapes
    assert all(layer.weight.is_meta for layer in block_linears(blueprint))


def test_a_stand_in_that_was_replaced_stays_and_lets_the_stack_go():
    model = random("mixtral")
    stack = model.model.layers[0].mlp.experts.gate_up_proj.untyped_storage().data_ptr()
    with as_linears(model):
        inside = model.model.layers[0].mlp.experts.inputs
        for index, layer in enumerate(inside):
            inside[index] = nn.Linear(layer.in_features, layer.out_features, bias=False)
    kept = model.model.layers[0].mlp.experts
    assert type(kept).__name__ == "Experts"
    assert type(model.model.layers[1].mlp.experts).__name__ == "MixtralExperts"
    assert stack not in {w.untyped_storage().data_ptr() for w in model.parameters()}
    held = [cell.cell_contents for cell in (kept._gated.__func__.__closure__ or ())]
    assert not held
    assert not list(kept._gated.__self__.parameters())


def test_gates_are_no_layers_to_change():
    model = random("qwen2_moe")
    block = decoder_blocks(model)[0]
    with as_linears(model):
        assert not [name for name in linear_layers(block) if "gate" in name and "proj" not in name]
        assert len(gates(block)) >= 1


def test_what_is_no_product_is_left_alone():
    class Scaled(nn.Linear):
        def forward(self, inputs):
            return 2 * super().forward(inputs)

    model = random("gpt2")
    block = decoder_blocks(model)[0]
    block.mlp.c_fc = Scaled(64, 256)
    with as_linears(model):
        assert type(block.mlp.c_fc) is Scaled
        assert type(block.mlp.c_proj) is nn.Linear
