"""Every technique, found by discovery, really changes the model and keeps what it promises."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from helpers.techniques import (
    CPU,
    HERE,
    OF_MIXTURES,
    OPTIONS,
    SMALLER,
    holding,
    live,
    preparation,
    promised,
    stack,
)
from helpers.tiny import tiny_mixture

from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.models import weights
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import check_order, discover
from greenbench.techniques.pruning.depth import PruneDepth, block_influence, keep_blocks


def suits(technique, model, workload):
    try:
        technique.check_model(model.config, workload)
    except UserError:
        return False
    return True


def total(model):
    return sum(weights.storage_bytes(model).values())


def slow_where_it_is(option):
    """Making kernels takes a minute."""
    return pytest.param(option, marks=pytest.mark.slow) if option == "compile" else option


@pytest.mark.parametrize("option", map(slow_where_it_is, OPTIONS))
def test_a_technique_runs_and_states_itself(option, tiny, tiny_drafter, tmp_path):
    (technique,) = stack(option)
    try:
        technique.check(CPU, HERE)
    except Unsupported as reason:
        pytest.skip(str(reason))
    technique = replace(technique, **SMALLER.get(option, {}))
    tiny = tiny_mixture() if option in OF_MIXTURES else tiny
    if option == "speculative":
        technique = replace(technique, draft=str(tiny_drafter))
    if option == "checkpoint":
        tiny.save_pretrained(tmp_path / "published")
        technique = replace(technique, path=str(tmp_path / "published"))
    technique.check_model(tiny.config, WorkloadSpec("w"))
    promise, before = promised(technique, tiny), total(tiny)
    work = preparation()
    model = live(technique, tiny, work)
    rows = 2 if suits(technique, tiny, WorkloadSpec("w", batch_size=2)) else 1
    ids = torch.randint(2, 256, (rows, 16))
    with holding(technique, CPU):
        out = model.generate(
            ids, max_new_tokens=4, min_new_tokens=4, do_sample=False, pad_token_id=0
        )
    assert out.shape == (rows, 20)
    json.dumps([work.details, work.observed])
    assert promise.note
    assert technique.summary
    # A block's scales weigh more in a model this small than in a real one, hence the tolerance.
    if option == "checkpoint":  # whose files nobody has read yet
        assert promise.bytes_ratio is None
    else:
        assert total(model) / before == pytest.approx(promise.bytes_ratio, abs=0.03)


def test_every_option_names_a_discovered_technique():
    assert {t.name for option in OPTIONS for t in stack(option)} <= set(discover())


def test_labels_show_the_knobs_that_were_turned():
    assert stack("int8_bnb")[0].label() == "int8_bnb"
    assert stack("fp32")[0].label() == "dtype(float32)"
    assert [stack(each)[0].label() for each in ("q8_0", "q4_0")] == ["gguf(q8_0)", "gguf(q4_0)"]
    assert stack("early_exit")[0].label() == "early_exit"
    assert PruneDepth(fraction=0.3).label() == "prune_depth(0.3)"
    assert stack("gptq_int8")[0].label() == "gptq(8, group_size=0)"


@pytest.mark.parametrize("option", ["int8_bnb", "int4_bnb"])
def test_quantized_logits_stay_near_and_the_head_stays_plain(option, tiny):
    ids = torch.randint(2, 256, (1, 32))
    model = live(stack(option)[0], copy.deepcopy(tiny), preparation())
    with torch.inference_mode():
        there, here = tiny(ids).logits, model(ids).logits
    assert torch.nn.functional.cosine_similarity(there, here, dim=-1).min() > 0.9
    assert not torch.equal(there, here)
    assert type(model.lm_head) is torch.nn.Linear


def test_double_quantization_saves_the_scales_it_promises_to():
    """On layers wide enough that the tables it adds to each weigh less than the scales it packs."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=512, intermediate_size=1024, num_hidden_layers=2, num_attention_heads=8, vocab_size=64
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for double in (False, True):
        technique = replace(stack("int4_bnb")[0], double_quant=double)
        expected = technique.promise(model).bytes_ratio * total(model)
        packed = live(technique, copy.deepcopy(model), preparation())
        assert total(packed) == pytest.approx(expected, rel=0.01)


def test_dtype_casts_weights_and_gives_its_bytes_back(tiny):
    model = live(stack("bf16")[0], tiny, preparation())
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


class Scale(torch.nn.Module):
    """A block that turns every hidden state by a known angle in its first two dimensions."""

    def __init__(self, angle):
        super().__init__()
        self.angle = torch.tensor(angle)

    def forward(self, hidden):
        cos, sin = torch.cos(self.angle), torch.sin(self.angle)
        first, second = hidden[..., 0], hidden[..., 1]
        return torch.stack([cos * first - sin * second, sin * first + cos * second], dim=-1)


def test_block_influence_is_one_minus_the_cosine():
    """ShortGPT, eq. 1, where the cosine is known: a rotation by an angle."""
    angles = [0.1, 0.7, 0.3]
    blocks = torch.nn.ModuleList(map(Scale, angles))

    def model(batch, use_cache):
        hidden = torch.nn.functional.one_hot(batch % 2, 2).float()
        for block in blocks:
            hidden = block(hidden)

    found = block_influence(model, blocks, [torch.arange(10)[None], torch.arange(3)[None]])
    assert found == pytest.approx([1 - float(torch.cos(torch.tensor(a))) for a in angles], abs=1e-6)


def test_a_block_that_does_nothing_goes_first(tiny):
    with torch.no_grad():  # block 2 adds nothing to the residual stream
        tiny.model.layers[2].self_attn.o_proj.weight.zero_()
        tiny.model.layers[2].mlp.down_proj.weight.zero_()
    ids = torch.randint(2, 256, (2, 24))
    with torch.inference_mode():
        before = tiny(ids).logits
    work = preparation()
    model = live(PruneDepth(fraction=0.25), tiny, work)
    assert work.details["dropped_blocks"] == [2]
    assert len(model.model.layers) == model.config.num_hidden_layers == 3
    with torch.inference_mode():
        assert torch.allclose(model(ids).logits, before, atol=1e-5)


def test_after_pruning_the_cache_gives_what_no_cache_gives(tiny):
    keep_blocks(tiny, [0, 3])
    ids = torch.randint(2, 256, (1, 10))
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(
        tiny.generate(ids, use_cache=True, **options),
        tiny.generate(ids, use_cache=False, **options),
    )


def test_a_pruned_model_is_saved_and_reloaded_as_it_is(tiny, tmp_path):
    from transformers import AutoModelForCausalLM

    keep_blocks(tiny, [0, 1, 3])
    tiny.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = torch.randint(2, 256, (1, 10))
    with torch.inference_mode():
        assert torch.allclose(again(ids).logits, tiny(ids).logits, atol=1e-5)


def test_what_a_shallow_model_cannot_lose_is_one_sentence(tiny):
    with pytest.raises(UserError, match=r"drops 0 of 4 blocks"):
        PruneDepth(fraction=0.01).promise(tiny)


def test_an_order_that_cannot_work_is_refused():
    with pytest.raises(UserError, match="put int4_bnb first"):
        check_order([*stack("int8_bnb"), *stack("int4_bnb")])
    check_order([*stack("int8_bnb"), *stack("prune_depth")])


@pytest.mark.parametrize(
    ("first", "later"),
    [("early_exit", "prune_depth"), ("self_speculative", "prune_width"), ("compile", "gptq")],
)
def test_nothing_changes_what_a_technique_keeps_to(first, later):
    with pytest.raises(UserError, match=f"put {later} first"):
        check_order([*stack(first), *stack(later)])
    check_order([*stack(later), *stack(first)])


def test_an_old_gpu_is_refused_in_one_sentence():
    old = Machine("cuda", "Tesla K80", 1 << 34, capability=(3, 7), uuids=("GPU-0",))
    with pytest.raises(Unsupported, match=r"compute capability 6.0.*3\.7"):
        stack("int8_bnb")[0].check(old, HERE)
