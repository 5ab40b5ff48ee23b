"""Options that vLLM alone has: said in its own words, and refused elsewhere."""

import pytest
import torch
from helpers.techniques import FILES, HERE, stack

from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.techniques.decoding.ngram import Ngram
from greenbench.techniques.quantization.kv_fp8 import KvFp8

CPU = Machine("cpu", "some CPU", 1 << 34)
OPTIONS = {
    "ngram": {
        "speculative_config": {
            "method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_max": 3, "prompt_lookup_min": 1,
        }
    },
    "prefix_caching": {"enable_prefix_caching": True},
    "enforce_eager": {"enforce_eager": True},
    "kv_fp8": {"kv_cache_dtype": "fp8"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def capable(monkeypatch):
    """A CPU that has what there are kernels for."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


@pytest.mark.parametrize("name", OPTIONS)
def test_they_are_vllms_own_words(name):
    (technique,) = stack(name)
    technique.check(CPU, FILES)
    assert technique.options("vllm") == OPTIONS[name]
    assert technique.promise().bytes_ratio == 1
    for engine in ("transformers", "llama_cpp", "openai"):
        with pytest.raises(Unsupported, match=rf"not of engine={engine}: use engine=vllm"):
            technique.options(engine)


def test_in_process_another_technique_does_the_same():
    with pytest.raises(Unsupported, match=r"use engine=vllm or technique=prompt_lookup\.$"):
        Ngram().check(CPU, HERE)
    with pytest.raises(Unsupported, match=r"use engine=vllm or technique=kv_quanto\.$"):
        KvFp8().check(CPU, HERE)


@pytest.mark.parametrize("knobs", [{"drafts": 0}, {"max_ngram": 0}, {"min_ngram": 4}])
def test_knobs_of_ngrams_out_of_range_are_one_sentence(knobs):
    with pytest.raises(UserError, match=rf"^technique\.ngram\.{next(iter(knobs))}="):
        Ngram(**knobs)


def test_a_cache_in_8_bits_is_refused_where_there_is_no_kernel(monkeypatch):
    KvFp8().check(Machine("cuda", "H100", 1 << 34, capability=(9, 0)), FILES)
    with pytest.raises(Unsupported, match=r"capability 8\.9 or newer, and this run is on A100"):
        KvFp8().check(Machine("cuda", "A100", 1 << 34, capability=(8, 0)), FILES)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.raises(Unsupported, match="needs a CPU with AVX-512, and this run is on some CPU"):
        KvFp8().check(CPU, FILES)
