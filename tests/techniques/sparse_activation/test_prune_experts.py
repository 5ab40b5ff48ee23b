"""Experts that add least go: by a direct computation of what each adds, token by token."""

import copy
from dataclasses import replace

import pytest
import torch
from helpers.techniques import live, preparation
from helpers.tiny import tiny_llama, tiny_mixture
from transformers import AutoModelForCausalLM

from greenbench.errors import Unsupported, UserError
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques.sparse_activation.experts import mixtures
from greenbench.techniques.sparse_activation.prune_experts import PruneExperts, saliency

WORKLOAD = WorkloadSpec("w")
KINDS = ("mixtral", "olmoe", "qwen3_moe", "gpt_oss", "deepseek_v3")


def texts(count=3):
    return [torch.randint(3, 256, (1, 11)) for _ in range(count)]


@torch.no_grad()
def directly(model, batches):
    """REAP's saliency of a Mixtral or OLMoE, one token and one expert at a time, from its equations."""
    total, chosen = [[[0.0] * 4 for _ in range(4)] for _ in range(2)]
    for batch in batches:
        states = model(batch, use_cache=False, output_hidden_states=True).hidden_states
        for at, block in enumerate(model.model.layers):
            hidden = {}
            hook = block.post_attention_layernorm.register_forward_hook(
                lambda _, __, output, hidden=hidden: hidden.update(seen=output)
            )
            positions = torch.arange(batch.shape[1])[None]
            block(
                states[at], position_ids=positions,
                position_embeddings=model.model.rotary_emb(states[at], positions),
                attention_mask=torch.full((11, 11), float("-inf")).triu(1)[None, None],
            )  # fmt: skip
            hook.remove()
            for token in hidden["seen"][0]:
                odds = (block.mlp.gate.weight @ token).softmax(-1)
                best = sorted(range(4), key=lambda e: -odds[e])[:2]
                weights = {e: float(odds[e]) for e in best}
                if model.config.model_type == "mixtral":
                    weights = {e: w / sum(weights.values()) for e, w in weights.items()}
                for expert, weight in weights.items():
                    first, second = (block.mlp.experts.gate_up_proj[expert] @ token).chunk(2)
                    given = block.mlp.experts.down_proj[expert] @ (
                        torch.nn.functional.silu(first) * second
                    )
                    total[at][expert] += weight * float(given.norm())
                    chosen[at][expert] += 1
    return [
        [t / c if c else 0.0 for t, c in zip(*rows, strict=True)]
        for rows in zip(total, chosen, strict=True)
    ]


@pytest.mark.parametrize("kind", ["mixtral", "olmoe"])
def test_saliency_is_what_a_direct_computation_gives(kind):
    model, batches = tiny_mixture(kind), texts()
    found = saliency(model, mixtures(model), batches)
    assert found.tolist() == [pytest.approx(row, rel=1e-4) for row in directly(model, batches)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_salient_go_and_an_ordinary_smaller_model_stays(kind, tmp_path):
    model, work = tiny_mixture(kind), preparation()
    whole, technique = copy.deepcopy(model), PruneExperts(fraction=0.25)
    technique.check_model(model.config, WORKLOAD)
    promise, after = technique.promise(model), technique.after(model.config)
    before = sum(weight.nbytes for weight in model.parameters())
    model = live(technique, model, work)
    scores = torch.tensor(work.details["expert_saliency"])
    assert [row[0] for row in work.details["dropped_experts"]] == scores.argmin(-1).tolist()
    held = sum(weight.nbytes for weight in model.parameters())
    assert held / before == pytest.approx(promise.bytes_ratio, abs=0.003)  # the router's rows
    for kept, old, (gone,) in zip(
        mixtures(model), mixtures(whole), work.details["dropped_experts"], strict=True
    ):
        left = [place for place in range(4) if place != gone]
        assert torch.equal(kept.experts.down_proj, old.experts.down_proj[left])
        assert torch.equal(kept.router.weight, old.router.weight[left])
    assert after.to_dict() == model.config.to_dict() | {
        name: after.to_dict()[name]
        for name in ("dtype", "architectures")
        if name in after.to_dict()
    }
    model.save_pretrained(tmp_path)
    again, ids = AutoModelForCausalLM.from_pretrained(tmp_path), torch.randint(3, 256, (1, 9))
    with torch.inference_mode():
        assert torch.allclose(again(ids).logits, model(ids).logits, atol=1e-5)


def test_experts_that_nobody_chooses_can_go_at_no_cost():
    """Two experts of four whose routers' rows always lose: without them all is as it was."""
    model, ids = tiny_mixture(), torch.randint(3, 256, (1, 9))
    with torch.inference_mode():
        for mixture in mixtures(model):
            mixture.router.register_forward_pre_hook(lambda _, args: (args[0].abs(),))
            mixture.router.weight.abs_()
            mixture.router.weight[1:3] *= -1
        before = model(ids).logits
        work = preparation()
        model = live(PruneExperts(fraction=0.5), model, work)
        assert work.details["dropped_experts"] == [[1, 2]] * 4
        assert torch.allclose(model(ids).logits, before, atol=1e-5)


def test_the_experts_that_are_left_are_counted_and_scored_once(tmp_path):
    work = replace(preparation(), workspace=tmp_path, again=True)
    first, second = (live(PruneExperts(), tiny_mixture(), work) for _ in range(2))
    ids = torch.randint(3, 256, (1, 9))
    scores = work.details["expert_saliency"]
    (file,) = tmp_path.iterdir()
    assert torch.load(file).tolist() == scores
    second.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, min_new_tokens=6,
                    do_sample=False, pad_token_id=0)  # fmt: skip
    assert work.observed["decoding"]["1"]["passes"] == 5
    assert work.observed["experts_a_token"] == 2
    assert work.observed["active_bytes_ratio"] == pytest.approx(
        1, abs=0.002
    )  # fewer rows of the router
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_cannot_be_dropped_is_one_sentence():
    with pytest.raises(Unsupported, match="no router"):
        PruneExperts().check_model(tiny_llama().config, WORKLOAD)
    with pytest.raises(UserError, match="drops 1 to 2"):
        PruneExperts(fraction=0.75).check_model(tiny_mixture().config, WORKLOAD)
    with pytest.raises(UserError, match="drops 1 to 2"):
        PruneExperts(fraction=0.01).check_model(tiny_mixture().config, WORKLOAD)
    grouped = tiny_mixture("deepseek_v3", n_group=2)
    with pytest.raises(Unsupported, match="groups of experts"):
        PruneExperts().check_model(grouped.config, WORKLOAD)
