"""Attention, static cache and threads: the same tokens, the change real, all given back afterwards."""

import copy

import pytest
import torch
from helpers.served import generate, load
from helpers.techniques import FILES, HERE, live
from transformers.cache_utils import StaticCache

from greenbench.campaign.compose import plan
from greenbench.engines.transformers.options import apply_options
from greenbench.engines.transformers.served import HubTokenizer
from greenbench.errors import Unsupported, UserError
from greenbench.machine import allowance
from greenbench.machine.detect import Machine
from greenbench.measure.requests import Requests
from greenbench.models import texts
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import Preparation
from greenbench.techniques.runtime import kernels_and_threads
from greenbench.techniques.runtime.kernels_and_threads import Attention, Threads

CPU = Machine("cpu", "some CPU", 1 << 34)
GPU = Machine("cuda", "some GPU", 1 << 34, capability=(9, 0), uuids=("GPU-0",))
IDS = torch.randint(2, 256, (2, 24), generator=torch.Generator().manual_seed(0))


def preparation():
    return Preparation(torch.device("cpu"), None, list)


def tokens(model, ids, count=12):
    """What `model` generates as the workload asks it to."""
    kept = []
    inner = model.generate
    model.generate = lambda *args, **kwargs: kept.append(inner(*args, **kwargs)) or kept[-1]
    try:
        generate(model, ids, count)
    finally:
        model.generate = inner
    return kept[0]


def test_a_static_cache_gives_the_same_tokens_and_is_one(tiny):
    before = tokens(tiny, IDS)
    model = live(kernels_and_threads.StaticCache(), copy.deepcopy(tiny), preparation())
    seen = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["past_key_values"]), with_kwargs=True
    )
    assert torch.equal(tokens(model, IDS), before)
    assert all(type(cache) is StaticCache for cache in seen)
    assert seen[0].layers[0].keys.shape[2] == 24 + 11  # no step follows the last token
    assert not hasattr(model, "_compiled_call")  # on CUDA generate would compile by itself


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_attention_is_switched_and_gives_the_same_sums(implementation, tiny, monkeypatch):
    other = {"eager": "sdpa", "sdpa": "eager"}[implementation]
    tiny.set_attn_implementation(other)
    with torch.inference_mode():
        before = tiny(IDS).logits
        options = Attention(implementation).options("transformers")
        told = apply_options(tiny, options)
        model = tiny
        assert torch.allclose(model(IDS).logits, before, atol=1e-5)
    assert told == {"attn_implementation": other}
    assert apply_options(model, options) == {"attn_implementation": implementation}
    called, fused = [], torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: called.append(1) or fused(*args, **kwargs),
    )
    model(IDS)
    assert len(called) == (4 if implementation == "sdpa" else 0)  # one a layer


def test_attention_that_cannot_be_switched_is_one_sentence(tiny, monkeypatch):
    monkeypatch.setattr(type(tiny), "_can_set_attn_implementation", classmethod(lambda cls: False))
    with pytest.raises(UserError, match=r"cannot change LlamaForCausalLM.*leave the technique out"):
        live(Attention("eager"), tiny, preparation())


def test_flash_attention_is_refused_where_it_cannot_run(tiny, monkeypatch):
    flash = Attention("flash_attention_2")
    with pytest.raises(Unsupported, match=r"needs a CUDA GPU.*this run is on some CPU"):
        flash.check(CPU, HERE)
    monkeypatch.setattr(kernels_and_threads, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match="needs the package flash-attn"):
        flash.check(GPU, HERE)
    monkeypatch.setattr(kernels_and_threads, "find_spec", lambda name: name)
    flash.check(GPU, HERE)
    with pytest.raises(UserError, match="no kernel for float32"):
        apply_options(tiny, flash.options("transformers"))
    Attention("eager").check(CPU, HERE)


@pytest.mark.parametrize("technique", [Attention("sdpa"), kernels_and_threads.StaticCache()])
def test_an_engine_without_the_option_is_one_sentence_before_a_model_is_loaded(technique):
    technique.check(CPU, HERE)
    said = rf"^technique={technique.name} chooses among .* engine=vllm has its own: use engine="
    with pytest.raises(Unsupported, match=said):
        technique.check(CPU, FILES)


def test_an_option_that_the_engine_does_not_know_is_one_sentence(tiny):
    with pytest.raises(UserError, match=r"^engine=transformers has no option tensor_parallel: "):
        apply_options(tiny, {"tensor_parallel": 2})


def test_threads_hold_while_the_candidate_runs_and_are_given_back():
    before = torch.get_num_threads()
    wanted = before + 1
    assert Threads(wanted).tried(CPU) == {"before": before}
    with Threads(wanted).hold(CPU, {}):
        assert torch.get_num_threads() == wanted
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), Threads(wanted).hold(CPU, {}):
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_threads_give_the_same_tokens(tiny):
    answers = []
    for count in (1, 2):
        with Threads(count).hold(CPU, {}):
            answers.append(tokens(tiny, IDS))
    assert torch.equal(*answers)


def test_threads_are_for_a_cpu_and_no_more_than_its_cores():
    cores = allowance.threads()
    Threads(cores).check(CPU, HERE)
    with pytest.raises(UserError, match=rf"threads.count={cores + 1} .* 1 to {cores} here"):
        Threads(cores + 1).check(CPU, HERE)
    with pytest.raises(Unsupported, match="this run is on some GPU: say device=cpu"):
        Threads(1).check(GPU, HERE)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("threads.count=0", "out of range: allowed is 1 or more"),
        (
            "attention.implementation=flash",
            "unknown: allowed are eager, flash_attention_2, kern.*, sdpa",
        ),
    ],
)
def test_bad_knobs_are_one_sentence(override, said):
    option = override.partition(".")[0]
    with pytest.raises(UserError, match=said):
        plan([f"technique={option}", f"technique.{override}"], multirun=False)


@pytest.mark.slow
def test_threads_are_lossless_on_50_prompts(smollm2):
    spec, path = smollm2
    model, tokenizer = load(spec, path, torch.device("cpu"))
    workload = WorkloadSpec("w", batch_size=25, prompt_tokens=16, output_tokens=6)
    requests = Requests(HubTokenizer(tokenizer), texts.passages("prompt"), workload, seed=0)
    prompts = [torch.tensor([each.tokens for each in requests.batch(index)]) for index in range(2)]
    answers = []
    for count in (1, 2):
        with Threads(count).hold(CPU, {}):
            answers.append([tokens(model, prompt, 6) for prompt in prompts])
    assert all(map(torch.equal, *answers))


@pytest.mark.slow
def test_a_static_cache_moves_logits_no_more_than_rounding_does(smollm2):
    """In float32 to 1e-3, of logits around 10; bfloat16, where tokens may change, is 65,536 times coarser."""
    spec, path = smollm2
    model, _ = load(spec, path, torch.device("cpu"))
    model = model.float()
    prompt = torch.arange(100, 132)[None]
    options = {"output_logits": True, "return_dict_in_generate": True, "do_sample": False}
    options |= {"attention_mask": torch.ones_like(prompt), "max_new_tokens": 6, "pad_token_id": 0}
    before = model.generate(prompt, **options)
    after = live(kernels_and_threads.StaticCache(), model, preparation()).generate(
        prompt, **options
    )
    assert torch.equal(before.sequences, after.sequences)
    assert torch.allclose(torch.cat(before.logits), torch.cat(after.logits), atol=1e-3)
