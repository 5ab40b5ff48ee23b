"""A dense model's MLPs as experts: all parts are the whole, copies are too, and what is counted is so."""

import copy
from dataclasses import replace

import pytest
import torch
from helpers.techniques import BRIEF, live, preparation
from helpers.tiny import small, tiny_llama
from transformers import AutoModelForCausalLM, LlamaConfig

from greenbench.errors import Unsupported, UserError
from greenbench.run.preflight import refuse_model
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import check_order
from greenbench.techniques.sparse_activation.experts import mixtures, sizes
from greenbench.techniques.sparse_activation.experts_top_k import ExpertsTopK
from greenbench.techniques.sparse_activation.prune_experts import PruneExperts
from greenbench.techniques.sparse_activation.split_mlp import clusters
from greenbench.techniques.sparse_activation.upcycle import Upcycle

WORKLOAD = WorkloadSpec("w")
IDS = torch.randint(3, 256, (1, 9), generator=torch.Generator().manual_seed(0))
OPTIONS = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, "pad_token_id": 0}


@torch.inference_mode()
def logits(model, ids=IDS):
    return model(ids).logits


def sharp():
    """A random model whose MLPs matter and whose distributions are not flat."""
    model = tiny_llama()
    with torch.no_grad():
        for block in model.model.layers:
            for weight in block.mlp.parameters():
                weight.mul_(10)
        model.lm_head.weight *= 10
    return model


def test_all_parts_are_the_whole_where_the_router_prefers_none():
    model = tiny_llama()
    before = logits(model)
    model = live(Upcycle(experts=4, top_k=4), model, preparation())
    with torch.no_grad():
        for mixture in mixtures(model):
            mixture.router.weight.zero_()
    assert type(model).__name__ == "MixtralForCausalLM"
    assert torch.allclose(logits(model), before, atol=1e-5)


def test_copies_say_what_the_dense_model_says_whichever_are_chosen():
    model = tiny_llama()
    before = logits(model)
    model = live(Upcycle(made_of="copies"), model, preparation())
    assert torch.allclose(logits(model), before, atol=1e-5)


def test_neurons_that_answer_to_the_same_go_together():
    """Four directions, 3 neurons of each in a random order."""
    kind = torch.randperm(12) % 4
    gate = 5 * torch.eye(4, 16)[kind] + 0.01 * torch.randn(12, 16)
    groups = clusters(gate, 4, seed=0)
    assert groups.flatten().sort().values.tolist() == list(range(12))
    assert all(len(set(kind[group].tolist())) == 1 for group in groups)


def test_a_router_chooses_the_part_in_which_most_happens():
    """On text like the text it was fitted to, more often than one of four would by chance."""
    model = sharp()
    model = live(Upcycle(top_k=1), model, preparation())
    texts = preparation().tokenizer("abcdefgh" * 8)["input_ids"]
    right = total = 0

    def see(mixture):
        def hook(_, args):
            nonlocal right, total
            hidden, index, _ = args
            first, second = (hidden @ mixture.experts.gate_up_proj.mT).chunk(2, dim=-1)
            given = torch.nn.functional.silu(first) * second @ mixture.experts.down_proj.mT
            right += int((given.norm(dim=-1).argmax(0) == index[:, 0]).sum())
            total += len(index)

        return hook

    for mixture in mixtures(model):
        mixture.experts.register_forward_pre_hook(see(mixture))
    logits(model, texts)
    assert right / total > 0.5


def test_experts_touched_equal_a_count_by_hooks_in_a_stack():
    """One of four instead of two: half the active bytes of the MLPs, as promised and as counted."""
    model, first, second = tiny_llama(), preparation(), preparation()
    dense = (
        sum(weight.nbytes for weight in model.parameters()) - model.model.embed_tokens.weight.nbytes
    )
    stack = [Upcycle(), ExpertsTopK(n=1)]
    check_order(stack)
    refuse_model(stack, model.config, WORKLOAD)
    promises = [stack[0].promise(model)]
    model = live(stack[0], model, first)
    held = sizes(model, mixtures(model))
    promises.append(stack[1].promise(model))
    model = live(stack[1], model, second)
    assert (held.active(8) - held.active(4)) * 2 == held.active(8) - held.always
    touched = []
    for mixture in mixtures(model):
        mixture.experts.register_forward_pre_hook(
            lambda _, args: touched.append(len(set(args[1].flatten().tolist())))
        )
    model.generate(IDS, attention_mask=torch.ones_like(IDS), **OPTIONS)
    decoding = touched[4:]  # the prompt's come first, one of each block
    assert len(decoding) == 4 * 5
    assert sum(decoding) == first.observed["decoding"]["1"]["experts_touched"]
    whole = promises[0].active_bytes_ratio * promises[1].active_bytes_ratio
    assert first.observed["active_bytes_ratio"] == pytest.approx(held.active(4) / dense, rel=1e-3)
    assert first.observed["active_bytes_ratio"] == pytest.approx(whole)
    assert second.observed["active_bytes_ratio"] == pytest.approx(promises[1].active_bytes_ratio)


@pytest.mark.parametrize("technique", [Upcycle(), Upcycle(experts=8), Upcycle(made_of="copies")])
def test_it_holds_what_it_promised(technique):
    model = tiny_llama()
    before, promise = sum(w.nbytes for w in model.parameters()), technique.promise(model)
    after = technique.after(model.config)
    model = live(technique, model, preparation())
    assert sum(w.nbytes for w in model.parameters()) / before == pytest.approx(promise.bytes_ratio)
    assert (after.num_local_experts, after.intermediate_size) == (
        model.config.num_local_experts, model.config.intermediate_size,
    )  # fmt: skip


def test_training_teaches_it_what_the_dense_model_says():
    plain, ids = sharp(), preparation().tokenizer("abcdefgh" * 8)["input_ids"]

    def far(model):
        mine, theirs = logits(model, ids).log_softmax(-1), logits(plain, ids).log_softmax(-1)
        return float((theirs.exp() * (theirs - mine)).sum(-1).mean())

    work = preparation()
    cold = live(Upcycle(top_k=1), sharp(), preparation())
    healed = live(
        Upcycle(top_k=1, heal=replace(BRIEF, tokens=6144, learning_rate=1e-3)), sharp(), work
    )
    assert work.details["distillation"]["steps"] > 5
    assert far(healed) < 0.8 * far(cold)
    assert work.observed == {} or work.observed["reading"]["passes"] == 1  # its own, not training's


def test_it_is_an_ordinary_mixtral_on_disk_and_for_what_comes_after(tmp_path):
    model = live(Upcycle(), tiny_llama(), preparation())
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.allclose(logits(again), logits(model), atol=1e-5)
    work = preparation()
    model = live(PruneExperts(fraction=0.5), model, work)
    assert [len(dropped) for dropped in work.details["dropped_experts"]] == [2] * 4
    assert logits(model).isfinite().all()


def test_what_generates_by_now_keeps_to_the_object():
    model = tiny_llama()
    held, copied = model.generate, copy.deepcopy(model)
    model = live(Upcycle(made_of="copies"), model, preparation())
    wanted = copied.generate(IDS, attention_mask=torch.ones_like(IDS), **OPTIONS)
    assert torch.equal(held(IDS, attention_mask=torch.ones_like(IDS), **OPTIONS), wanted)


def test_what_is_no_mixtral_but_for_its_mlp_is_refused_in_one_sentence():
    for config in (small("qwen3").config, LlamaConfig(attention_bias=True)):
        with pytest.raises(Unsupported, match="types llama or mistral without biases"):
            Upcycle().check_model(config, WORKLOAD)
    with pytest.raises(UserError, match="MLPs into parts of a multiple of 8"):
        Upcycle(experts=3).check_model(tiny_llama().config, WORKLOAD)
    with pytest.raises(UserError, match="1 to 4, the experts"):
        Upcycle(top_k=5)
