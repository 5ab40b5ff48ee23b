"""Inputs near zero left out: the same as zeros in a dense product, and the share that was asked for."""

import copy
from types import SimpleNamespace

import pytest
import torch
from helpers.techniques import CPU, HERE, live, preparation
from helpers.tiny import small, tiny_llama
from torch import nn

from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.run.prepare import _idle
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import check_order
from greenbench.techniques.pruning.depth import PruneDepth
from greenbench.techniques.sparse_activation.activation_sparsity import (
    ActivationSparsity,
    thresholds,
)
from greenbench.techniques.sparse_activation.activation_sparsity import _places as places
from greenbench.techniques.sparse_activation.sparse_columns import Met, SparseColumns

OPTIONS = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_one_token_and_many_give_what_zeros_give(dtype, bias):
    layer = nn.Linear(96, 40, bias=bias).to(dtype)
    inputs = torch.randn(2, 5, 96).to(dtype)
    zeroed = inputs.masked_fill(inputs.abs() < 0.7, 0)
    met = Met()
    sparse = SparseColumns(layer, 0.7, met)
    loose = {"atol": 0.05, "rtol": 0.02} if dtype == torch.bfloat16 else {"atol": 1e-5}
    assert torch.allclose(sparse(inputs), layer(zeroed), **loose)
    assert (met.weights, met.left_out) == (0, 0)
    one = inputs[:1, :1]
    assert torch.allclose(sparse(one), layer(zeroed[:1, :1]), **loose)
    kept = int((zeroed[0, 0] != 0).sum())
    assert (met.weights, met.left_out) == (40 * kept, 40 * (96 - kept))


@torch.no_grad()
def test_nothing_left_is_nothing_given():
    layer = nn.Linear(8, 4)
    assert torch.equal(SparseColumns(layer, 9.0, Met())(torch.ones(1, 8))[0], layer.bias)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_thresholds_are_quantiles_of_the_magnitudes(share):
    model = tiny_llama()
    batches = [torch.randint(3, 256, (1, 64)) for _ in range(4)]
    seen = []
    mlp = model.model.layers[2].mlp
    hook = mlp.down_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0].abs()))
    found = thresholds(model, places(model), share, batches)
    hook.remove()
    magnitudes = torch.cat([each.flatten() for each in seen])
    assert found[8] == pytest.approx(float(magnitudes.quantile(share)), rel=0.02)
    assert found[6] == found[7]  # the gate and the up projection are given the same


def test_what_is_left_out_is_counted_and_as_much_as_promised():
    """The magnitudes of each projection's inputs on the text that it generates, by hooks."""
    model, work = tiny_llama().to(torch.bfloat16), preparation()
    technique = ActivationSparsity(sparsity=0.5)
    promise = technique.promise(model)
    model = live(technique, model, work)
    left = total = 0

    def see(layer, args):
        nonlocal left, total
        if args[0].numel() == layer.in_features:
            left += int((args[0].abs() < layer.threshold).sum()) * layer.out_features
            total += layer.weight.numel()

    for module in model.modules():
        if isinstance(module, SparseColumns):
            module.register_forward_pre_hook(see)
    ids = preparation().tokenizer("abcdefgh")["input_ids"]
    model.generate(ids, attention_mask=torch.ones_like(ids), **OPTIONS)
    assert work.observed["passes"] == 7
    assert work.observed["weights_left_out"] == left
    assert work.observed["weights_met"] == total - left
    assert work.observed["active_bytes_ratio"] == pytest.approx(promise.active_bytes_ratio, abs=0.1)
    assert not technique.idle({}, work.observed)
    assert technique.idle({}, {})


def test_with_next_to_nothing_left_out_the_model_says_the_same():
    model = tiny_llama()
    ids = preparation().tokenizer("abcdefgh" * 2)["input_ids"]
    with torch.inference_mode():
        before = model(ids).logits
        model = live(ActivationSparsity(sparsity=1e-4), model, preparation())
        assert torch.allclose(model(ids).logits, before, atol=1e-4)
    plain = copy.deepcopy(model)
    a, b = (
        m.generate(ids, attention_mask=torch.ones_like(ids), use_cache=cache, **OPTIONS)
        for m, cache in ((model, True), (plain, False))
    )
    assert torch.equal(a, b)  # one token at a time, and all of them at once


def test_it_is_for_gated_mlps_on_a_cpu_one_token_at_a_time():
    technique = ActivationSparsity()
    technique.check(CPU, HERE)
    technique.check_model(small("gemma3").config, WorkloadSpec("w"))
    with pytest.raises(Unsupported, match="kernel for the CPU alone"):
        technique.check(Machine("cuda", "some GPU", 1 << 34), HERE)
    with pytest.raises(Unsupported, match="a gate, an up and a down projection"):
        technique.check_model(small("neox").config, WorkloadSpec("w"))
    with pytest.raises(UserError, match=r"batch_size=2"):
        technique.check_model(tiny_llama().config, WorkloadSpec("w", batch_size=2))
    with pytest.raises(UserError, match="put prune_depth first"):
        check_order([technique, PruneDepth()])


@pytest.mark.parametrize(("left_out", "idle"), [(5, False), (0, True)])
def test_weights_that_are_skipped_and_not_changed_are_no_idleness(left_out, idle):
    done = SimpleNamespace(touched=0.0, details={}, observed={"weights_left_out": left_out})
    assert _idle(ActivationSparsity(), done) == idle
