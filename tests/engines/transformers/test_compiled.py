"""The compiled reference: the same answers, one graph for all requests, one cache."""

from dataclasses import replace

import pytest
import torch
from helpers.architectures import DECODERS
from helpers.in_flight import at_once
from helpers.techniques import SMALLER, Letters, live, stack
from helpers.tiny import small, tiny_llama
from transformers import AutoConfig, AutoModelForCausalLM

from greenbench.campaign.compose import plan
from greenbench.engines.engine import Build, Request
from greenbench.engines.start import Start
from greenbench.engines.transformers import compiled, engine
from greenbench.engines.transformers.engine import Transformers
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.run.preflight import suited
from greenbench.schema.enums import Dtype, Reference
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import Preparation
from greenbench.techniques.stack import uncompiled

CPU = Machine("cpu", "some CPU", 1 << 34)
GPU = Machine("cuda", "some GPU", 1 << 34, capability=(9, 0), uuids=("GPU-0",))
COMPILED, EAGER = (Transformers(reference) for reference in (Reference.compiled, Reference.eager))
START = Start(at_once=2, tokens=24)


@pytest.fixture
def spec(tiny_directory):
    path = f"model.path={tiny_directory}"
    return plan(["model=local", path, "model.dtype=float32"], multirun=False)[0].spec.model


def requests(prompt=16, answer=8, batch=2):
    texts = torch.randint(2, 256, (batch, prompt), generator=torch.Generator().manual_seed(0))
    return [Request(tuple(text), answer) for text in texts.tolist()]


def build(model, spec, **how):
    return Build(spec, "module", model, spec.path, start=START, **how)


def outputs(model, batch):
    """The tokens that it answers with, as it is set."""
    prompt = torch.tensor([request.tokens for request in batch])
    with torch.inference_mode():
        return model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, pad_token_id=0,
            min_new_tokens=batch[0].new_tokens, max_new_tokens=batch[0].new_tokens,
        ).tolist()  # fmt: skip


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3", "neox"])
def test_greedy_tokens_are_those_of_the_eager_reference(kind, traced, spec):
    make = tiny_llama if kind == "llama" else lambda: small(kind)
    shapes = [(16, 8), (16, 1), (5, 3), (60, 20), (16, 8)]
    plain, model = make(), make()
    with COMPILED.serve(build(model, spec), CPU) as served:
        done = compiled.graphs()
        for prompt, answer in shapes:
            batch = requests(prompt, answer)
            assert outputs(model, batch) == outputs(plain, batch)
            assert [each.tokens for each in served.complete(batch)] == [answer, answer]
        assert (
            compiled.graphs() - done <= 2
        )  # for the longer one; a sliding window knows two states


def test_real_kernels_give_the_same_tokens_in_float32(spec):
    """The whole way through the code generator."""
    model = tiny_llama(layers=2)
    with (
        COMPILED.serve(build(model, spec), CPU) as served,
        torch.compiler.set_stance("fail_on_recompile"),
    ):
        assert outputs(model, requests()) == outputs(tiny_llama(layers=2), requests())
        served.complete(requests(16, 1))


def test_all_requests_of_the_run_share_one_cache_whatever_was_asked_between(traced, spec):
    model = tiny_llama()
    seen = []

    def spy(*args, past_key_values=None, **kwargs):
        layer = past_key_values.layers[0]
        seen.append((layer.keys.data_ptr(), layer.keys.shape[2]) if layer.is_initialized else None)
        return before(*args, past_key_values=past_key_values, **kwargs)

    with COMPILED.serve(build(model, spec), CPU) as served:
        before, model.forward = model.forward, spy
        for shape in ((16, 8), (16, 1), (90, 8), (16, 8)):
            served.complete(requests(*shape))
    steps = [each for each in seen if each]
    long = [each for each in steps if each[1] > 23]
    assert len(long) == 7
    assert len({each for each in steps if each not in long}) == 1
    assert steps[-1][1] == 23  # places of a request of 24 tokens, whose last is never attended to


def test_under_a_load_it_is_compiled_for_one_request_and_not_again_in_another_thread(traced, spec):
    """Shorter ones too, as a load may have."""
    plain = Build(spec, "module", tiny_llama(), spec.path, start=replace(START, queues=True))
    asked = [request for shape in ((16, 8), (9, 8), (16, 3)) for request in requests(*shape)]

    done = compiled.graphs()
    with COMPILED.serve(plain, CPU) as served:
        made = compiled.graphs()
        assert made > done
        assert [each.tokens for each in served.converse(at_once(*asked))] == [8, 8, 8, 8, 3, 3]
        served.complete(asked[:1])
        assert compiled.graphs() == made


def test_what_the_reference_is_made_of_meets_the_same_cache_and_graph_when_served(traced, spec):
    workload = WorkloadSpec("w", batch_size=2, prompt_tokens=16, output_tokens=8)
    work = Preparation(torch.device("cpu"), None, list, workload=workload)
    model = tiny_llama()
    for option in ("static_cache", "compile"):
        model = live(stack(option)[0], model, work)
    done = compiled.graphs()
    with EAGER.serve(build(model, spec), CPU) as served:
        for shape in ((16, 8), (16, 1), (16, 8)):
            served.complete(requests(*shape))
        assert compiled.graphs() == done


def test_likelihoods_are_exactly_the_eager_ones(traced, spec):
    from lm_eval.api.instance import Instance

    pairs = [("The sky is", " blue"), ("One and one", " make two"), ("A", " longer text " * 9)]
    asked = [
        Instance("loglikelihood", {}, pair, 0, metadata=("t", index, 1))
        for index, pair in enumerate(pairs)
    ]
    found = []
    for each in (EAGER, COMPILED):
        plain = Build(spec, "safetensors", spec.path, spec.path, start=START)
        with each.serve(plain, CPU) as served:
            found.append(served.language_model(lambda: None, None).loglikelihood(asked))
    assert found[0] == found[1]


def test_what_its_techniques_do_not_let_compile_runs_as_it_is(traced, spec):
    model = tiny_llama()
    before = model.forward
    with COMPILED.serve(build(model, spec, uncompiled="x decodes by a loop of its own"), CPU):
        assert model.forward == before
        assert model.generation_config.cache_implementation is None


def test_a_step_of_several_graphs_is_one_sentence(traced, spec):
    model = tiny_llama()
    inner = model.model.norm.forward

    def broken(states):
        torch._dynamo.graph_break()
        return inner(states)

    model.model.norm.forward = broken
    with (
        pytest.raises(
            UserError, match=r"cannot compile a decode step of LlamaForCausalLM as one .*: say"
        ),
        COMPILED.serve(build(model, spec), CPU),
    ):
        pass


@pytest.mark.parametrize(
    "option", ["gptq", "int8_torchao", "int8dyn_torchao", "int4_torchao", "int8_quanto", "prune_depth"]
)  # fmt: skip
def test_what_is_said_to_compile_does(option, traced, spec):
    work = Preparation(torch.device("cpu"), Letters(), lambda: ["abcdefgh" * 8, "hgfedcba" * 8])
    (technique,) = (replace(each, **SMALLER.get(option, {})) for each in stack(option))
    assert (
        uncompiled([technique], CPU, plan([f"technique={option}"], multirun=False)[0].spec) is None
    )
    model = live(technique, tiny_llama().to(torch.bfloat16), work)
    expected = outputs(model, requests())
    with COMPILED.serve(build(model, spec), CPU):
        assert outputs(model, requests()) == expected


def test_one_that_transformers_does_not_compile_is_refused_or_left_eager(
    tmp_path, spec, smollm2, monkeypatch
):
    from transformers import AutoTokenizer

    config = AutoConfig.for_model("dbrx", vocab_size=256, **DECODERS["dbrx"])
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(smollm2[1]).save_pretrained(tmp_path)
    dbrx = replace(spec, path=str(tmp_path), dtype=Dtype.float32)
    said = ["model=local", f"model.path={tmp_path}", "model.dtype=float32", "device=cpu"]
    refused = r"reference=compiled is not .*: transformers does not compile DbrxForCausalLM as one graph; say"
    with pytest.raises(Unsupported, match=refused):
        suited(plan([*said, "engine.reference=compiled"], multirun=False)[0].spec, CPU)
    suited(plan([*said, "engine.reference=eager"], multirun=False)[0].spec, CPU)
    monkeypatch.setattr(engine, "find_spec", lambda name: object())
    left = Transformers().settled(dbrx, GPU, None, of_reference=False)
    assert left == (EAGER,)
    plain = Build(dbrx, "safetensors", tmp_path, tmp_path)
    assert "DbrxForCausalLM" in EAGER.why_eager(plain, GPU)


def settled(spec, machine, why=None, *, of_reference=False):
    chosen = Transformers().settled(spec, machine, why, of_reference=of_reference)
    return [each.reference.value for each in chosen]


def test_auto_is_compiled_on_a_gpu_and_both_for_what_runs_eager(spec, monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: object())
    assert settled(spec, CPU) == ["eager"]
    assert settled(spec, CPU, "x has a cache of its own") == ["eager"]
    assert settled(spec, GPU) == ["compiled"]
    assert settled(spec, GPU, "x has a cache of its own") == ["compiled", "eager"]
    assert settled(spec, GPU, of_reference=True) == ["eager"]
    assert settled(spec, replace(GPU, uuids=("GPU-0", "GPU-1"))) == ["eager"]
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert settled(spec, GPU) == ["eager"]
    assert settled(replace(spec, path="/nowhere"), GPU) == ["eager"]  # its run says what is wrong
    assert COMPILED.settled(spec, CPU, "x", of_reference=False) == (COMPILED,)


def test_why_a_model_ran_eager_is_told(spec, monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: object())
    plain = build(None, spec)
    barred = replace(plain, uncompiled="x has a cache of its own")
    assert COMPILED.why_eager(plain, GPU) is None
    assert COMPILED.why_eager(barred, GPU) == EAGER.why_eager(barred, GPU) == barred.uncompiled
    assert EAGER.why_eager(plain, GPU) == "engine.reference=eager asks for it"
    assert "CPU" in EAGER.why_eager(plain, CPU)


def test_without_a_compiler_it_is_one_sentence(monkeypatch):
    from torch._inductor import config

    said = r"engine.reference=compiled needs a C\+\+ compiler.*install g\+\+, or set CXX"
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(Unsupported, match=said):
        COMPILED.check(CPU)
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    with pytest.raises(Unsupported, match=r"reference=compiled needs triton"):
        COMPILED.check(GPU)
    EAGER.check(GPU)
