"""Options that vLLM alone has: said in its own words, and refused elsewhere."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.architectures import checkpoint, small_tokenizer
from helpers.techniques import FILES, HERE, stack

from greenbench.campaign import downloads
from greenbench.campaign.compose import plan
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques.decoding.ngram import Ngram
from greenbench.techniques.decoding.served_drafts import DraftModel, Eagle
from greenbench.techniques.quantization.fp8_at_load import Fp8AtLoad
from greenbench.techniques.quantization.kv_fp8 import KvFp8

CPU = Machine("cpu", "some CPU", 1 << 34)
H100 = Machine("cuda", "H100", 1 << 34, capability=(9, 0))
OPTIONS = {
    "ngram": {
        "speculative_config": {
            "method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_max": 3, "prompt_lookup_min": 1,
        }
    },
    "prefix_caching": {"enable_prefix_caching": True},
    "enforce_eager": {"enforce_eager": True},
    "kv_fp8": {"kv_cache_dtype": "fp8"},
    "fp8_at_load": {"quantization": "fp8"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def capable(monkeypatch):
    """A CPU that has what there are kernels for."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


@pytest.mark.parametrize("name", OPTIONS)
def test_they_are_vllms_own_words(name):
    (technique,) = stack(name)
    technique.check(H100, FILES)
    assert technique.options("vllm") == OPTIONS[name]
    assert technique.promise().bytes_ratio == (None if name == "fp8_at_load" else 1)
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
    KvFp8().check(CPU, FILES)
    with pytest.raises(Unsupported, match=r"capability 8\.9 or newer, and this run is on A100"):
        KvFp8().check(Machine("cuda", "A100", 1 << 34, capability=(8, 0)), FILES)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.raises(Unsupported, match="needs a CPU with AVX-512, and this run is on some CPU"):
        KvFp8().check(CPU, FILES)


@pytest.mark.parametrize(
    ("cls", "method", "what"),
    [
        (DraftModel, "draft_model", "a smaller model of the same vocabulary"),
        (Eagle, "eagle", "an EAGLE head that was trained for this model"),
    ],
)
def test_what_drafts_is_a_directory_by_name_and_content(cls, method, what, tmp_path):
    name = cls.name
    with pytest.raises(UserError, match=rf"^technique\.{name}\.path is missing: .* of {what}\.$"):
        cls().check(CPU, FILES)
    with pytest.raises(
        UserError, match=rf"^technique\.{name}\.path=/nowhere has no config\.json: "
    ):
        cls("/nowhere").check(CPU, FILES)
    with pytest.raises(Unsupported, match=r"use engine=vllm"):
        cls().check(CPU, HERE)
    place = tmp_path / "small"
    checkpoint("llama", small_tokenizer(), place)
    drafting = cls(str(place))
    drafting.check(CPU, FILES)
    assert drafting.options("vllm") == {
        "speculative_config": {
            "method": method, "model": str(place), "num_speculative_tokens": 3,
        }
    }  # fmt: skip
    assert drafting.label() == f"{name}(small)"
    first = drafting.disclosed()["path"]
    assert first.startswith("small@")
    checkpoint("llama", small_tokenizer(), place, hidden_size=128)
    assert drafting.disclosed()["path"] != first


@pytest.mark.parametrize("cls", [DraftModel, Eagle])
def test_what_drafts_may_be_named_as_a_hub_names_it(cls, hub):
    """By the commit that its branch is; nothing is asked of a hub before models are fetched."""
    drafting = cls(id="org/tiny")
    drafting.check(CPU, FILES)
    (spec,) = drafting.models()
    assert (spec.source.value, spec.id, spec.revision) == ("hub", "org/tiny", None)
    exact = drafting.exact()
    assert exact.revision == hub.commits[0]
    assert exact.exact() == exact
    place = exact.options("vllm")["speculative_config"]["model"]
    assert place.endswith(f"models--org--tiny/snapshots/{hub.commits[0]}")
    assert drafting.label() == exact.label() == f"{cls.name}(tiny)"
    assert drafting.disclosed() == {}
    (there,) = replace(exact, revision=hub.commits[1]).models()
    assert there.revision == hub.commits[1]
    with pytest.raises(Unsupported, match="use engine=vllm"):
        drafting.check(CPU, HERE)


def test_one_that_is_not_on_the_hub_or_said_twice_is_one_sentence(hub):
    absent = DraftModel(id="org/absent")
    absent.check(CPU, FILES)
    with pytest.raises(UserError, match=r"^Model org/absent .* nor found in the local hub cache"):
        absent.exact()
    with pytest.raises(
        UserError, match=r"\.path and technique\.draft_model\.id are both said: leave"
    ):
        DraftModel("/somewhere", id="org/tiny").check(CPU, FILES)
    assert DraftModel().models() == []


def test_the_served_sweep_of_8b_has_a_row_with_a_draft_which_is_fetched_with_the_model(monkeypatch):
    specs = [job.spec for job in plan(["+experiments=h100-8b"], multirun=True)]
    (drafted,) = [spec for spec in specs if "draft_model" in spec.technique]
    assert drafted.engine.name == "vllm"
    wanted, said = [], []
    monkeypatch.setattr(downloads.files, "missing_bytes", lambda model: 10**6)
    monkeypatch.setattr(downloads.files, "directory", lambda model: wanted.append(model.id))
    downloads.fetch(specs, said.append)
    assert sorted(wanted) == ["Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B"]
    assert "fetched Qwen/Qwen3-0.6B" in said


def test_a_draft_of_another_vocabulary_is_refused(tmp_path):
    checkpoint("llama", small_tokenizer(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    ours = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=config["vocab_size"]))
    DraftModel(str(tmp_path)).check_model(ours, WorkloadSpec("w"))
    other = SimpleNamespace(get_text_config=lambda: SimpleNamespace(vocab_size=7))
    with pytest.raises(
        UserError, match=r"cannot draft for this model, as it has 5\d\d tokens .* has 7:"
    ):
        DraftModel(str(tmp_path)).check_model(other, WorkloadSpec("w"))


def test_a_head_of_eagle_3_is_named_so(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    methods = {
        version: Eagle(str(tmp_path), version=version).options("vllm")["speculative_config"][
            "method"
        ]
        for version in (1, 3)
    }
    assert methods == {1: "eagle", 3: "eagle3"}
    with pytest.raises(UserError, match=r"^technique\.eagle\.version=2"):
        Eagle(version=2)


@pytest.mark.parametrize("cls", [DraftModel, Eagle])
def test_drafts_out_of_range_are_one_sentence(cls):
    with pytest.raises(UserError, match=rf"^technique\.{cls.name}\.drafts=0"):
        cls(drafts=0)


def test_fp8_at_load_needs_a_gpu_with_the_arithmetic():
    for machine in (CPU, Machine("cuda", "A100", 1 << 34, capability=(8, 0))):
        with pytest.raises(
            Unsupported, match=rf"8\.9 or newer, and this run is on {machine.device_name}"
        ):
            Fp8AtLoad().check(machine, FILES)
