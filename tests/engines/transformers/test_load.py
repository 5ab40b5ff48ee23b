"""What a model's own files may say about a request: when its text ends, and nothing else."""

import json

import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from helpers.tiny import tiny_llama

from greenbench.engines.engine import Request
from greenbench.engines.transformers.generate import complete
from greenbench.engines.transformers.load import load_model, load_module, save_module
from greenbench.engines.transformers.options import apply_options
from greenbench.errors import Unsupported
from greenbench.schema.enums import Dtype, Source, Stop
from greenbench.schema.spec import ModelSpec

PROMPT = tuple(range(5, 25))
NEW = 24
OWN_WAYS = {
    "sampling": {"do_sample": True, "temperature": 9.0, "top_k": 0, "top_p": 0.9, "min_p": 0.01},
    "penalty": {"repetition_penalty": 8.0},
    "ngrams": {"no_repeat_ngram_size": 1},
    "suppressed": {"suppress_tokens": list(range(100, 200))},
    "suppressed at first": {"begin_suppress_tokens": list(range(256))[30:]},
    "forced end": {"forced_eos_token_id": 77},
    "forced begin": {"forced_bos_token_id": 77},
    "bad words": {"bad_words_ids": [[each] for each in range(30, 250)]},
    "length": {"max_new_tokens": 3, "max_length": 4, "min_length": 200, "min_new_tokens": 30},
    "beams": {"num_beams": 3, "length_penalty": 2.0, "early_stopping": True},
    "returned": {"return_dict_in_generate": True, "output_scores": True},
    "bias": {"sequence_bias": [[[9], 100.0]]},
    "decay": {"exponential_decay_length_penalty": [1, 3.0]},
    "guidance": {"guidance_scale": 3.0},
    "drafts": {"prompt_lookup_num_tokens": 3, "num_assistant_tokens": 9},
    "time": {"max_time": 1e-9},
    "cache": {"cache_implementation": "static", "use_cache": False},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "strings": {"stop_strings": ["a"]},
    "unknown": {"some_key_of_a_maker": 3},
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model whose random weights give different tokens, some of them again."""
    model = tiny_llama()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8)
    path = tmp_path_factory.mktemp("models") / "own-ways"
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def expected(saved):
    found = answers(loaded(saved))
    new = found[1][0][len(PROMPT) :]
    assert 3 < len(set(new)) < NEW  # a penalty, or a drawn token, would show
    return found


def loaded(path, **own):
    (path / "generation_config.json").write_text(
        json.dumps({"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0} | own)
    )
    spec = ModelSpec("own-ways", Source.local, path=str(path), dtype=Dtype.float32)
    return load_model(spec, path, "cpu")


def answers(model, stop=Stop.fixed):
    """Of a measured request, and of the same call as preparation and scoring make it."""
    torch.manual_seed(3)
    said = []

    def listened(*args, **kwargs):
        said.append(model.generate(*args, **kwargs))
        return said[-1]

    (done,) = complete(model, [Request(PROMPT, NEW, stop)], listened)
    ids = torch.tensor([PROMPT])
    said.append(
        model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW
        )
    )
    return done.tokens, [output[0].tolist() for output in said]


@pytest.mark.parametrize("own", OWN_WAYS.values(), ids=OWN_WAYS)
def test_a_models_own_ways_of_generating_do_not_reach_a_request(own, saved, expected):
    assert answers(loaded(saved, **own)) == expected


def test_the_tokens_that_end_a_text_are_the_models_own(saved):
    tokens = answers(loaded(saved))[1][0][len(PROMPT) :]
    ender = loaded(saved, eos_token_id=[3, tokens[4]])
    assert answers(ender, Stop.natural)[0] == tokens.index(tokens[4]) + 1
    ids = ender.generation_config
    assert (ids.bos_token_id, ids.eos_token_id, ids.pad_token_id) == (1, [3, tokens[4]], 0)


def test_options_of_the_engine_still_reach_a_request(saved, expected):
    model = loaded(saved, cache_implementation="dynamic")
    apply_options(model, {"cache_implementation": "static", "disable_compile": True})
    assert model.generation_config.cache_implementation == "static"
    assert model.generation_config.disable_compile is True
    assert answers(model) == expected


@pytest.mark.parametrize(
    "device_map",
    [
        {"model": "cpu", "lm_head": "disk"},
        {"model.embed_tokens": "cpu", "model.layers": "disk", "model.norm": "cpu", "model.rotary_emb": "cpu",
         "lm_head": "cpu"},
        pytest.param("auto", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="it has room")),
    ],
)  # fmt: skip
def test_a_model_of_which_parts_would_lie_elsewhere_is_refused(tmp_path, device_map):
    """As transformers spreads what does not fit on the GPUs: it would say nothing."""
    tiny_llama().save_pretrained(tmp_path / "tiny")
    spec = ModelSpec("tiny", Source.local, path=str(tmp_path / "tiny"), dtype=Dtype.float32)
    with pytest.raises(Unsupported, match="does not fit on the device: parts of it would lie"):
        load_model(spec, tmp_path / "tiny", device_map)


@pytest.mark.parametrize(
    "device_map", ["cpu", torch.device("cpu"), {"": torch.device("cpu")}], ids=str
)
def test_a_model_that_was_to_lie_in_the_hosts_memory_may(tmp_path, device_map):
    tiny_llama().save_pretrained(tmp_path / "tiny")
    spec = ModelSpec("tiny", Source.local, path=str(tmp_path / "tiny"), dtype=Dtype.float32)
    assert load_model(spec, tmp_path / "tiny", device_map).device.type == "cpu"


def test_a_model_spread_over_devices_is_kept_with_what_brings_inputs_to_them(tmp_path):
    """Two words for one device stand for two, by the hooks of accelerate; the embedding is tied, and one
    layer was edited."""
    model, ids = tiny_llama(layers=2), torch.tensor([PROMPT])
    model.lm_head.weight = model.model.embed_tokens.weight
    model.model.layers[1].mlp.up_proj = torch.nn.Linear(64, 128)
    expected = model(ids).logits
    add_hook_to_module(model, AlignDevicesHook(io_same_device=True))
    for part, place in zip(model.model.layers, ("cpu", torch.device("cpu")), strict=True):
        add_hook_to_module(part, AlignDevicesHook(place, tied_params_map={}))
    hooked = execution_devices(model)
    assert len(hooked) == 3

    save_module(model, tmp_path / "module.pt")
    again = load_module(tmp_path / "module.pt")

    for each in (model, again):
        assert execution_devices(each) == hooked
        assert each.lm_head.weight is each.model.embed_tokens.weight
        assert torch.equal(each(ids).logits, expected)


def execution_devices(model):
    hooks = {name: getattr(part, "_hf_hook", None) for name, part in model.named_modules()}
    return {name: hook.execution_device for name, hook in hooks.items() if hook}
