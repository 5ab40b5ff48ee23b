"""The packed key-value cache: packed during generation, rounded while scoring, refused where it cannot be."""

import copy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.served import generate
from helpers.techniques import HERE, live
from torch.utils import cpp_extension
from transformers.cache_utils import QuantizedCache

from greenbench.campaign.compose import plan
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques import Preparation
from greenbench.techniques.pruning.depth import keep_blocks
from greenbench.techniques.quantization.kv_cache import KvQuanto, cache_bytes
from greenbench.techniques.quantization.quanto import Int4Quanto, Int8Quanto

IDS = torch.randint(2, 256, (2, 24), generator=torch.Generator().manual_seed(0))


def preparation():
    return Preparation(torch.device("cpu"), None, list)


def watch_caches(model):
    """The caches that the model's forward passes see."""
    seen = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs.get("past_key_values")), with_kwargs=True
    )
    return seen


def test_keys_and_values_are_packed_during_generation(tiny):
    work = preparation()
    model = live(KvQuanto(residual_length=4, q_group_size=16), tiny, work)
    seen = watch_caches(model)
    assert generate(model, IDS, 8).tokens == 16
    assert all(type(cache) is QuantizedCache and cache is seen[0] for cache in seen)
    layer = seen[0].layers[0]
    assert type(layer._quantized_keys).__name__ == "WeightQBitsTensor"
    packed = layer._quantized_keys.shape[-2]
    assert packed >= 24 + 4  # the prompt, and the generated tokens once they were 4
    assert packed + (layer.keys.shape[-2] if layer.keys.dim() == 4 else 0) == 31
    assert generate(model, IDS, 8).tokens == 16
    assert seen[-1] is not seen[0]  # each request has its own


@pytest.mark.parametrize("nbits", [2, 4])
def test_a_packed_prompt_takes_the_bytes_promised(nbits, tiny):
    work = preparation()
    model = live(KvQuanto(nbits=nbits, q_group_size=16), tiny, work)
    seen = watch_caches(model)
    generate(model, IDS, 1)
    numbers = 2 * 4 * 2 * 24 * 2 * 16  # keys and values, layers, rows, tokens, heads, width
    held = cache_bytes(seen[0])
    assert held["uint8"] == numbers * nbits // 8
    assert held["float32"] == numbers // 16 * 2 * 4
    assert work.observed == {"cache_bytes": held, "cache_tokens": 24}
    note = KvQuanto(nbits=nbits, q_group_size=16).promise(tiny).note
    assert f"32 to {nbits + 4} bits a number" in note  # a scale and a zero of 32 bits for 16


def test_attention_reads_rounded_keys_after_the_prompt(tiny):
    """Each key read back is off by half a step of its group at most, and not what was written."""
    model = live(KvQuanto(residual_length=4, q_group_size=16), copy.deepcopy(tiny), preparation())
    seen = watch_caches(model)
    generate(model, IDS, 2)
    layer = seen[0].layers[0]
    with torch.inference_mode():
        written = tiny(IDS, use_cache=True).past_key_values.layers[0].keys
        read = layer._quantized_keys.dequantize()
    step = (written.amax(-1) - written.amin(-1))[..., None] / 15
    assert ((read - written).abs() <= step * 0.51).all()
    assert not torch.equal(read, written)


def test_scoring_meets_the_rounding_and_fewer_bits_round_more(tiny):
    with torch.inference_mode():
        there = tiny(IDS).logits
        errors = []
        for nbits in (4, 2):
            model = live(KvQuanto(nbits=nbits, q_group_size=16), copy.deepcopy(tiny), preparation())
            errors.append(float((model(IDS).logits - there).norm() / there.norm()))
            assert torch.equal(model(IDS, use_cache=False).logits, there)
    assert 0 < errors[0] < errors[1] < 0.5


def test_what_comes_after_it_in_a_stack_works(tiny):
    model = live(KvQuanto(q_group_size=16), tiny, preparation())
    keep_blocks(model, [0, 3])
    seen = watch_caches(model)
    assert generate(model, IDS, 4).tokens == 8
    assert len(seen[0].layers) == 2


def test_groups_must_divide_a_head_and_windows_are_refused(tiny):
    with pytest.raises(UserError, match=r"q_group_size=64 does not divide the 16 numbers"):
        KvQuanto().check_model(tiny.config, WorkloadSpec("w"))
    KvQuanto(q_group_size=16).check_model(tiny.config, WorkloadSpec("w"))
    from transformers import Gemma3TextConfig

    config = Gemma3TextConfig(head_dim=256, num_hidden_layers=6)
    with pytest.raises(UserError, match="needs full attention in every layer, and gemma3_text"):
        KvQuanto().check_model(config, WorkloadSpec("w"))


@pytest.mark.parametrize("knob", ["nbits=3", "residual_length=0", "q_group_size=0"])
def test_bad_knobs_are_one_sentence(knob):
    with pytest.raises(UserError, match=rf"technique\.kv_quanto\.{knob} is out of range"):
        plan(["technique=kv_quanto", f"technique.kv_quanto.{knob}"], multirun=False)


def test_it_promises_no_weight(tiny):
    promise = replace(KvQuanto(), q_group_size=16).promise(tiny)
    assert (promise.bytes_ratio, promise.kernel) == (1.0, "dequantize")


@pytest.mark.parametrize("technique", [KvQuanto(), Int4Quanto()])
def test_what_quanto_cannot_compile_is_one_sentence_before_a_model_is_loaded(
    technique, monkeypatch
):
    gpu = Machine("cuda", "a GPU", 1, (9, 0))
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", None)
    technique.check(Machine("cpu", "a CPU", 1), HERE)
    with pytest.raises(Unsupported, match="needs CUDA's compiler nvcc, as quanto compiles"):
        technique.check(gpu, HERE)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Unsupported, match=r"needs a C\+\+ compiler and CUDA's compiler nvcc"):
        technique.check(gpu, HERE)
    Int8Quanto().check(gpu, HERE)


def test_the_ninja_of_an_environment_that_is_not_active_is_found(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CXX", "/bin/true")
    assert shutil.which("ninja") is None
    KvQuanto().check(Machine("cpu", "a CPU", 1), HERE)
    assert Path(shutil.which("ninja")).parent == Path(sys.executable).parent
