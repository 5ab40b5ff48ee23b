"""Fewer experts a token, counted where the experts themselves are called."""

from dataclasses import replace

import pytest
import torch
from helpers.techniques import live, preparation, stack
from helpers.tiny import tiny_llama, tiny_mixture
from transformers import AutoConfig

from greenbench.errors import Unsupported, UserError
from greenbench.models.parts import decoder_blocks
from greenbench.schema.enums import Stop
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques.early_exit.early_exit import EarlyExit
from greenbench.techniques.sparse_activation.experts import mixtures, sizes
from greenbench.techniques.sparse_activation.experts_top_k import ExpertsTopK
from greenbench.techniques.sparse_activation.prune_experts import PruneExperts

KINDS = ("mixtral", "olmoe", "qwen3_moe", "qwen2_moe", "gpt_oss", "granitemoe", "deepseek_v3")
WORKLOAD = WorkloadSpec("w")
NEW = 6


def asked(rows):
    return replace(preparation(), workload=WorkloadSpec("w", batch_size=rows))


def counted_by_hooks(model, ids):
    """(experts chosen, experts touched) of decoding, by what the experts are given."""
    chosen = touched = 0
    rows = len(ids)

    def see(_, args):
        nonlocal chosen, touched
        if len(args[0]) == rows:  # one token a row
            chosen += args[1].numel()
            touched += len(set(args[1].flatten().tolist()))

    hooks = [
        module.experts.register_forward_pre_hook(see)
        for module in model.modules()
        if hasattr(module, "experts")
    ]
    model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, min_new_tokens=NEW,
        do_sample=False, pad_token_id=0,
    )  # fmt: skip
    for hook in hooks:
        hook.remove()
    return chosen, touched


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 3])
def test_experts_touched_equal_a_count_by_hooks(kind, rows):
    work, model = asked(rows), tiny_mixture(kind)
    model = live(ExpertsTopK(n=1), model, work)
    chosen, touched = counted_by_hooks(model, torch.randint(3, 256, (rows, 9)))
    seen = work.observed["decoding"][str(rows)]
    assert (seen["experts_chosen"], seen["experts_touched"]) == (chosen, touched)
    blocks, passes = len(mixtures(model)), NEW - 1
    assert (chosen, seen["passes"]) == (rows * passes * blocks, passes)
    assert work.observed["experts_touched_a_pass"] == touched / passes / blocks
    assert work.observed["experts_a_token"] == 1
    assert work.observed["reading"]["tokens"] == 9 * rows


def test_a_row_alone_reads_what_was_promised_and_more_rows_read_more():
    ratios, per_pass = [], []
    for rows in (1, 8):
        work, model = asked(rows), tiny_mixture()
        technique = ExpertsTopK(n=1)
        promise = technique.promise(model)
        counted_by_hooks(live(technique, model, work), torch.randint(3, 256, (rows, 9)))
        ratios.append(work.observed.get("active_bytes_ratio"))
        per_pass.append(work.observed["active_bytes_a_pass"])
    assert ratios == [pytest.approx(promise.active_bytes_ratio), None]
    assert per_pass[1] > per_pass[0]


@pytest.mark.parametrize("way", ["grouped_mm", "batched_mm"])
def test_rows_read_experts_once_or_each_its_own_as_transformers_decodes(way):
    """By ``batched_mm``, its way on GPUs, it copies the experts of every row."""
    work, model = asked(8), tiny_mixture()
    model.set_experts_implementation(way)
    model = live(ExpertsTopK(n=2), model, work)
    chosen, touched = counted_by_hooks(model, torch.randint(3, 256, (8, 9)))
    assert touched < chosen
    seen, read = work.observed["decoding"]["8"], chosen if way == "batched_mm" else touched
    assert seen["experts_read"] == read
    held, passes = sizes(model, mixtures(model)), NEW - 1
    assert work.observed["experts_read_a_pass"] == read / passes / 4
    assert work.observed["active_bytes_a_pass"] == held.active(read / passes)


@pytest.mark.parametrize(
    ("rows", "stop", "told"), [(1, Stop.natural, True), (2, Stop.natural, False)]
)
def test_a_token_is_spoken_of_only_where_no_row_goes_on_after_its_end(rows, stop, told):
    work, model = asked(rows), tiny_mixture()
    work = replace(work, workload=replace(work.workload, stop=stop))
    counted_by_hooks(live(ExpertsTopK(), model, work), torch.randint(3, 256, (rows, 9)))
    seen = work.observed
    of_a_token = ("experts_a_token", "experts_touched_a_token", "active_bytes_a_token")
    assert [seen[name] is not None for name in of_a_token] == [told] * 3
    assert ("not_a_token" in seen) != told
    assert seen["active_bytes_a_pass"] > 0


def test_one_of_four_instead_of_two_halves_the_active_bytes_of_the_experts():
    model = tiny_mixture()
    held, found = sizes(model, mixtures(model)), mixtures(model)
    one = sum(weight[0].nbytes for weight in found[0].experts.parameters())
    assert held.expert == one
    assert held.active(4) - held.always == (held.active(8) - held.always) / 2 == 4 * one
    promise = ExpertsTopK(n=1).promise(model)
    assert promise.active_bytes_ratio == held.active(4) / held.active(8)
    assert promise.bytes_ratio == 1
    work = sum(
        weight.numel()
        for name, weight in decoder_blocks(model).named_parameters()
        if weight.ndim == 2 and "experts" not in name
    )
    each = 4 * one / 4  # of four blocks, in numbers of four bytes
    assert promise.flops_ratio == pytest.approx((work + each) / (work + 2 * each))


def test_the_models_own_number_changes_nothing_but_is_counted():
    model, ids = tiny_mixture("olmoe"), torch.randint(3, 256, (1, 9))
    with torch.inference_mode():
        before = model(ids).logits
        work = asked(1)
        model = live(ExpertsTopK(n=2), model, work)
        assert torch.equal(model(ids).logits, before)
    assert not ExpertsTopK(n=2).idle({}, {})
    assert work.observed["reading"]["experts_chosen"] == 9 * 2 * 4


def test_tokens_that_leave_on_the_way_are_counted_where_they_were():
    """Early exit after half of the blocks, always: the later ones' routers see none of the tokens."""
    work, model = asked(2), tiny_mixture()
    model = live(ExpertsTopK(n=1), model, work)
    model = live(EarlyExit(exits=[0.5], threshold=0.0, steps=0), model, asked(2))
    work.observed.clear()
    chosen, touched = counted_by_hooks(model, torch.randint(3, 256, (2, 9)))
    seen = work.observed["decoding"]["2"]
    assert (seen["experts_chosen"], seen["experts_touched"]) == (chosen, touched)
    assert (seen["passes"], seen["block_passes"]) == (NEW - 1, 2 * (NEW - 1))
    assert work.observed["experts_a_token"] == 1


def test_the_number_is_in_the_files(tmp_path):
    from transformers import AutoModelForCausalLM

    model, ids = tiny_mixture("qwen3_moe"), torch.randint(3, 256, (1, 9))
    model = live(ExpertsTopK(n=1), model, asked(1))
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.inference_mode():
        assert torch.allclose(again(ids).logits, model(ids).logits, atol=1e-5)


def test_a_compiled_pass_is_traced_in_one_piece_and_not_counted():
    work = asked(1)
    model = live(ExpertsTopK(n=1), tiny_mixture(), work)
    ids = torch.randint(3, 256, (1, 9))
    with torch.inference_mode():
        plain = model(ids).logits
        work.observed.clear()
        whole = torch.compile(model, backend="eager", fullgraph=True)
        assert torch.allclose(whole(ids, use_cache=False).logits, plain, atol=1e-4)
    assert work.observed == {}


def test_dense_models_and_more_experts_than_there_are_are_refused_in_one_sentence():
    with pytest.raises(Unsupported, match="this model has no router"):
        ExpertsTopK().check_model(tiny_llama().config, WORKLOAD)
    with pytest.raises(UserError, match="more than the 4 experts"):
        ExpertsTopK(n=5).check_model(tiny_mixture().config, WORKLOAD)
    with pytest.raises(UserError, match=r"technique\.experts_top_k\.n"):
        ExpertsTopK(n=0)


UNKNOWN = {
    "llama4_text": {
        "hidden_size": 64, "intermediate_size": 64, "intermediate_size_mlp": 64, "num_local_experts": 4,
        "num_experts_per_tok": 1, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "num_hidden_layers": 2,
    },
    "longcat_flash": {
        "hidden_size": 64, "ffn_hidden_size": 64, "expert_ffn_hidden_size": 64, "n_routed_experts": 4,
        "zero_expert_num": 2, "moe_topk": 2, "num_layers": 4, "num_attention_heads": 4, "q_lora_rank": 16,
        "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16, "head_dim": 16,
    },
}  # fmt: skip
"""Routers that give scores and no places, or choose among experts that have no weights too."""


@pytest.mark.parametrize("kind", UNKNOWN)
@pytest.mark.parametrize("technique", [ExpertsTopK(), PruneExperts()], ids=lambda each: each.name)
def test_routers_of_another_kind_are_refused(kind, technique):
    config = AutoConfig.for_model(kind, **UNKNOWN[kind], vocab_size=256)
    with pytest.raises(Unsupported, match=r"has no (router that it knows|list of \d+ blocks)"):
        technique.check_model(config, WORKLOAD)


def test_its_label_says_the_number():
    assert stack("experts_top_k")[0].label() == "experts_top_k(1)"
