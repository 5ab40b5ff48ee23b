"""torchao and quanto: what they store is near, small, refused where it cannot be, and stacks."""

import copy
from dataclasses import replace

import pytest
import torch
from helpers.served import generate, load
from helpers.techniques import HERE, live
from helpers.tiny import tiny_llama

from greenbench.campaign.compose import plan
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.models import weights
from greenbench.models.parts import blueprint
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import Preparation, check_order
from greenbench.techniques.pruning.depth import keep_blocks
from greenbench.techniques.quantization.linear_layers import linears, require_package
from greenbench.techniques.quantization.torchao import Int8Dynamic

CPU = Machine("cpu", "some CPU", 1 << 34)
BITS = {
    "int8_torchao": 8,
    "int8dyn_torchao": 8,
    "int4_torchao": 4,
    "int8_quanto": 8,
    "int4_quanto": 4,
}
OPTIONS = [*BITS, "float8_quanto"]


def technique(option, **knobs):
    (found,) = plan([f"technique={option}"], multirun=False)[0].spec.technique.values()
    return replace(found, **knobs)


def preparation():
    return Preparation(torch.device("cpu"), None, list)


def total(model):
    return sum(weights.storage_bytes(model).values())


def gpu(*capability):
    return Machine("cuda", "some GPU", 1 << 34, capability=capability, uuids=("GPU-0",))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("option", OPTIONS)
def test_every_weight_is_rounded_to_its_own_grid(option, dtype):
    """A layer's answers to the identity are its weights: off by half a step of their range at most."""
    plain = tiny_llama(layers=1).to(dtype)
    model = live(technique(option), copy.deepcopy(plain), preparation())
    for name, layer in linears(plain).items():
        with torch.inference_mode():
            held = model.get_submodule(name)(torch.eye(layer.in_features, dtype=dtype)).T.float()
        weight = layer.weight.float()
        slack = 2 * torch.finfo(dtype).eps * weight.abs().max()
        if option == "float8_quanto":  # 3 bits of mantissa: 1 part in 16, or half its least step
            allowed = weight.abs() / 16 + weight.abs().amax(1, keepdim=True) / 448 * 2**-10
        else:
            allowed = weight.abs().amax(1, keepdim=True) / (2 ** BITS[option] - 1)
        if option == "int8dyn_torchao":  # the 1 of the identity is 127 of 127.5 steps itself
            allowed = allowed + weight.abs() * 0.5 / 127.5
        assert ((held - weight).abs() <= allowed * 1.02 + slack).all()
        assert not torch.equal(held, weight)


@pytest.mark.parametrize("option", OPTIONS)
def test_logits_stay_near_and_the_head_stays_plain(option, tiny):
    ids = torch.randint(2, 256, (1, 32))
    model = live(technique(option), copy.deepcopy(tiny), preparation())
    with torch.inference_mode():
        there, here = tiny(ids).logits, model(ids).logits
    assert torch.nn.functional.cosine_similarity(there, here, dim=-1).min() > 0.9
    assert not torch.equal(there, here)
    assert type(model.lm_head) is torch.nn.Linear
    assert type(model.lm_head.weight) is torch.nn.Parameter


def test_on_the_real_model_bytes_are_as_promised(smollm2):
    spec, path = smollm2
    plain, _ = load(spec, path, torch.device("cpu"))
    ids = torch.arange(100, 116)[None]
    with torch.inference_mode():
        there = plain(ids).logits.float()
    for option in OPTIONS:
        found = technique(option)
        promised = found.promise(plain).bytes_ratio
        model = live(found, copy.deepcopy(plain), preparation())
        assert total(model) / total(plain) == pytest.approx(promised, abs=2e-4), option
        with torch.inference_mode():
            here = model(ids).logits.float()
        assert torch.nn.functional.cosine_similarity(there, here, dim=-1).mean() > 0.8, option


@pytest.mark.parametrize(
    ("option", "knobs"),
    [
        ("int8_torchao", {"group_size": 32}),
        ("int8dyn_torchao", {"activations": "asymmetric"}),
        ("int4_torchao", {"group_size": 32}),
        ("int4_torchao", {"algorithm": "hqq"}),
        ("int4_quanto", {"group_size": 16}),
    ],
)
def test_every_knob_works_and_keeps_its_promise(option, knobs, tiny):
    found = technique(option, **knobs)
    promised, before = found.promise(tiny).bytes_ratio, total(tiny)
    model = live(found, tiny, preparation())
    assert generate(model, torch.randint(2, 256, (2, 8)), 4).tokens == 8
    assert total(model) / before == pytest.approx(promised, abs=0.002)


def test_smaller_groups_round_less(tiny):
    def error(size):
        model = live(technique("int4_torchao", group_size=size), copy.deepcopy(wide), preparation())
        with torch.inference_mode():
            held = model.model.layers[0].mlp.down_proj(torch.eye(128)).T
        return float((held - wide.model.layers[0].mlp.down_proj.weight).norm())

    wide = tiny
    assert error(32) < error(64)


def test_a_bias_is_kept():
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(hidden_size=64, intermediate_size=128, num_hidden_layers=2, vocab_size=64)
    config.num_attention_heads, config.num_key_value_heads = 4, 2
    plain = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        for layer in linears(plain).values():
            if layer.bias is not None:
                layer.bias.normal_()
    ids = torch.randint(2, 64, (1, 16))
    with torch.inference_mode():
        there = plain(ids).logits
        for option in OPTIONS:
            here = live(technique(option), copy.deepcopy(plain), preparation())(ids).logits
            assert torch.nn.functional.cosine_similarity(there, here, dim=-1).min() > 0.9, option


@pytest.mark.parametrize("option", OPTIONS)
def test_it_stacks_on_a_pruned_model(option, tiny):
    keep_blocks(tiny, [0, 3])
    work = preparation()
    model = live(technique(option), tiny, work)
    assert work.details["linear_layers"] == 14
    assert generate(model, torch.randint(2, 256, (2, 8)), 4).tokens == 8


def test_packed_weights_are_not_packed_again():
    with pytest.raises(UserError, match="put int4_quanto first"):
        check_order([technique("int8_torchao"), technique("int4_quanto")])


def test_float8_needs_tensor_cores_that_have_it():
    found = technique("float8_torchao")
    with pytest.raises(Unsupported, match=r"capability 8\.9 or newer.*on a CPU"):
        found.check(CPU, HERE)
    with pytest.raises(Unsupported, match=r"capability 8\.9 or newer, some GPU has 8\.6"):
        found.check(gpu(8, 6), HERE)
    found.check(gpu(8, 9), HERE)
    found.check_model(tiny_llama().config, WorkloadSpec("w"))
    with pytest.raises(UserError, match="multiplies bfloat16 activations only"):
        found.promise(tiny_llama())
    promise = found.promise(tiny_llama().bfloat16())
    assert promise.kernel == "float8"
    assert promise.bytes_ratio < 0.7


def test_int4_needs_bfloat16_tensor_cores_or_a_cpu():
    found = technique("int4_torchao")
    found.check(CPU, HERE)
    found.check(gpu(8, 0), HERE)
    with pytest.raises(Unsupported, match=r"8\.0 or newer, some GPU has 7\.5"):
        found.check(gpu(7, 5), HERE)


def test_a_missing_package_is_one_sentence():
    with pytest.raises(Unsupported, match="needs the package nothing: pip install nothing"):
        require_package("x", "nothing", "nothing.at.all")


def test_kernels_are_named_for_what_they_are(tiny):
    half = copy.deepcopy(tiny).bfloat16()
    assert technique("int8_torchao").promise(half).kernel == "dequantize"
    assert technique("float8_quanto").promise(half).kernel == "dequantize"
    assert technique("int8_quanto").promise(half).kernel == "int8pack"
    assert technique("int8_quanto").promise(tiny).kernel == "dequantize"
    mixed = technique("int4_quanto").promise(half)  # only down_proj has 128 inputs
    assert (mixed.kernel, "4 of 28 layers by tinygemm" in mixed.note) == ("dequantize", True)


@pytest.mark.parametrize(
    ("option", "size"), [("int8_torchao", 48), ("int4_torchao", 128), ("int4_quanto", 48)]
)
def test_groups_that_do_not_divide_are_refused_from_the_config(option, size, tiny):
    found = technique(option, group_size=size)
    with pytest.raises(UserError, match=rf"group_size={size} does not divide the 64 inputs of"):
        found.check_model(tiny.config, WorkloadSpec("w"))
    with pytest.raises(UserError, match=r"choose a divisor of 64\.$"):
        live(found, tiny, preparation())


def test_shapes_no_kernel_takes_are_refused(tiny):
    config = copy.deepcopy(tiny.config)
    config.intermediate_size = 136
    with pytest.raises(UserError, match=r"multiple of 16 inputs and 16 outputs.*136"):
        technique("float8_torchao").check_model(config, WorkloadSpec("w"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("int8_torchao.group_size=-1", "0 or more"),
        ("int4_torchao.group_size=48", "one of 32, 64, 128"),
        ("int4_torchao.algorithm=best", "allowed are hqq, tinygemm"),
        ("int8dyn_torchao.activations=odd", "allowed are asymmetric, symmetric"),
        ("float8_torchao.granularity=column", "allowed are row, tensor"),
        ("int4_quanto.group_size=0", "1 or more"),
    ],
)
def test_bad_knobs_are_one_sentence(override, said):
    option = override.partition(".")[0]
    with pytest.raises(UserError, match=f"technique.{override.replace('.', '[.]')} .*{said}"):
        plan([f"technique={option}", f"technique.{override}"], multirun=False)


def test_the_blueprint_has_all_shapes_and_no_weights(tiny):
    empty = blueprint(tiny.config)
    assert {weight.device.type for weight in empty.parameters()} == {"meta"}
    shapes = {name: layer.weight.shape for name, layer in linears(tiny).items()}
    assert shapes == {name: layer.weight.shape for name, layer in linears(empty).items()}
    assert "lm_head" not in shapes


def test_on_cuda_the_dynamic_int8_promise_says_how_few_tokens_are_multiplied(tiny, monkeypatch):
    here = Int8Dynamic().promise(tiny)
    assert "CUDA" not in here.note
    monkeypatch.setattr(type(tiny), "device", torch.device("cuda"))
    there = Int8Dynamic().promise(tiny)
    assert "16 tokens or fewer in float32" in there.note
    assert there.bytes_ratio == here.bytes_ratio
