"""Compiled decode steps: compiled while preparing and never later, for decode steps only, same answers."""

import copy
from dataclasses import replace

import pytest
import torch
from helpers.served import generate
from helpers.techniques import HERE, SMALLER, Letters, live
from helpers.tiny import tiny_llama

from greenbench.campaign.compose import plan
from greenbench.engines.transformers import compiled
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import Preparation, check_order
from greenbench.techniques.runtime.compile import Compile
from greenbench.techniques.runtime.kernels_and_threads import StaticCache, Threads

CPU = Machine("cpu", "some CPU", 1 << 34)


def preparation(batch=2):
    workload = WorkloadSpec("w", batch_size=batch, prompt_tokens=16, output_tokens=8)
    return Preparation(torch.device("cpu"), None, list, workload=workload)


def ids(batch=2):
    return torch.randint(2, 256, (batch, 16), generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def tokens(model, prompt):
    return model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        min_new_tokens=8,
        max_new_tokens=8,
        pad_token_id=0,
    )


@pytest.mark.parametrize("option", ["gptq", "int8_torchao", "int8_quanto", "int4_bnb", "kv_quanto"])
def test_what_packs_numbers_is_compiled_and_says_the_same(traced, option):
    """torchao and quanto hold weights in tensor classes of their own, bitsandbytes beside them."""
    work = Preparation(
        torch.device("cpu"), Letters(), lambda: ["abcdefgh" * 8, "hgfedcba" * 8],
        workload=WorkloadSpec("w", batch_size=1, prompt_tokens=16, output_tokens=8),
    )  # fmt: skip
    (technique,) = plan([f"technique={option}"], multirun=False)[0].spec.technique.values()
    technique = replace(technique, **SMALLER.get(option, {}))
    check_order([technique, Compile()])
    model = live(technique, tiny_llama().to(torch.bfloat16), work)
    expected = tokens(model, ids(1))
    model = live(Compile(), model, work)
    assert work.details["graphs"] > 0
    assert torch.equal(tokens(model, ids(1)), expected)


@pytest.mark.parametrize("option", ["early_exit", "self_speculative", "int4_quanto"])
def test_what_cannot_be_traced_is_refused(option):
    (technique,) = plan([f"technique={option}"], multirun=False)[0].spec.technique.values()
    with pytest.raises(UserError, match=f"cannot come after {option}, whose forward pass"):
        check_order([technique, Compile()])


@pytest.mark.parametrize(("static", "batch"), [(True, 1), (True, 2), (False, 1), (False, 2)])
def test_nothing_is_compiled_after_preparation(traced, static, batch, tiny):
    work = preparation(batch)
    model = copy.deepcopy(tiny)
    if static:
        model = live(StaticCache(), model, work)
    model = live(Compile(), model, work)
    assert work.details["graphs"] == (1 if static else 2)  # at first length, then at any length
    with torch.compiler.set_stance("fail_on_recompile"):
        assert generate(model, ids(batch), 8).tokens == 8 * batch
        assert generate(model, ids(batch), 1).tokens == batch
        assert torch.equal(tokens(model, ids(batch)), tokens(tiny, ids(batch)))
    assert work.observed == {"graphs_compiled_later": 0}


def test_what_is_compiled_later_is_told(traced, tiny):
    work = preparation(batch=2)
    model = live(Compile(), tiny, work)
    generate(model, ids(1), 4)  # another batch size than was prepared for
    assert work.observed["graphs_compiled_later"] >= 1


def test_only_decode_steps_are_compiled(tiny, monkeypatch):
    lengths = []

    def spy(function, mode, fullgraph):
        def compiled(*args, **kwargs):
            lengths.append(kwargs["input_ids"].shape[1])
            return function(*args, **kwargs)

        return compiled

    monkeypatch.setattr(torch, "compile", spy)
    model = live(Compile(), tiny, preparation())
    assert lengths == [1] * 14  # two requests of eight tokens, whose first comes with the prompt
    model(ids())
    model(ids()[:, :1])  # no cache: a text of one token, not a step
    assert len(lengths) == 14


def test_the_signature_stays_what_generate_and_scoring_look_at(traced, tiny):
    from inspect import signature

    before = signature(tiny.forward)
    assert signature(live(Compile(), tiny, preparation()).forward) == before


def test_threads_of_the_stack_hold_while_it_compiles(traced, tiny):
    """torch compiles for a number of threads; prepared amid another, it would compile again."""
    work = preparation()
    with Threads(torch.get_num_threads() + 1).hold(CPU, {}):
        model = live(Compile(), tiny, work)
        with torch.compiler.set_stance("fail_on_recompile"):
            generate(model, ids(), 8)
    generate(model, ids(), 8)
    assert work.observed["graphs_compiled_later"] == 1  # amid another number of threads


def test_without_a_compiler_it_is_one_sentence():
    from torch._inductor import config

    said = r"needs a C\+\+ compiler.*install g\+\+, or set CXX"
    # Undoing a plain setattr would leave the option missing for every later test.
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(Unsupported, match=said):
        Compile().check(CPU, HERE)


def test_a_gpu_needs_triton(monkeypatch):
    gpu = Machine("cuda", "some GPU", 1 << 34, capability=(9, 0), uuids=("GPU-0",))
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match="needs triton"):
        Compile().check(gpu, HERE)


def test_an_unknown_mode_is_one_sentence():
    with pytest.raises(UserError, match=r"technique\.compile\.mode=fast is unknown"):
        plan(["technique=compile", "technique.compile.mode=fast"], multirun=False)


@pytest.mark.slow
def test_real_kernels_give_the_same_tokens_in_float32():
    """The whole way through the code generator, after a static cache."""
    plain = tiny_llama(layers=2)
    work = preparation()
    model = live(Compile(), live(StaticCache(), copy.deepcopy(plain), work), work)
    with torch.compiler.set_stance("fail_on_recompile"):
        assert torch.equal(tokens(model, ids()), tokens(plain, ids()))
    assert work.details["graphs"] == 1
