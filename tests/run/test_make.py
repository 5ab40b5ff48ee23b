"""What is left for the user is what is measured: the same tokens, the same bytes, and nothing half."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from greenbench.campaign.compose import plan
from greenbench.engines.engine import Build, Request
from greenbench.engines.transformers.engine import Transformers
from greenbench.engines.transformers.load import config
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.measure.recorder import Recorder
from greenbench.meters import OpenMeters
from greenbench.models import files
from greenbench.run import checkpoint
from greenbench.run.make import make, refuse
from greenbench.run.preflight import refuse_files
from greenbench.run.prepare import Candidate, Place
from greenbench.schema.enums import Source

CPU = Machine("cpu", "some CPU", 1 << 34)
BRIEF = [
    "device=cpu", "meter=estimate", "technique=[prune_depth,gptq]", "technique.prune_depth.fraction=0.8",
    "technique.gptq.passages=2", "technique.gptq.tokens=64",
]  # fmt: skip
"""Six blocks of the real model, packed."""


def silent(*progress):
    """No progress."""


def spec_of(*words):
    return plan(list(words), multirun=False)[0].spec


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Call for a cache in which nothing was kept; models are made once for all."""
    models = checkpoint.cache_dir() / "models"

    def fresh(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "models").symlink_to(models)
        monkeypatch.setenv("GREENBENCH_CACHE", str(folder))
        return folder

    return fresh


def measured(spec, request):
    """What the candidate of a run in this process answers."""
    path = files.directory(spec.model)
    base = Build(spec.model, "safetensors", path, path)
    here = Place(CPU, Transformers(), base, files.fingerprint(spec.model))
    stack = list(spec.technique.values())
    candidate = Candidate(spec, stack, here, Recorder(OpenMeters()), silent)
    model = candidate.build().source
    candidate.close()
    return generated(model, request)


def generated(model, request):
    ids = torch.tensor([request.tokens])
    with torch.inference_mode():
        found = model.generate(ids, max_new_tokens=request.new_tokens, do_sample=False)
    return found[0].tolist()


@pytest.mark.slow
def test_stock_transformers_gives_the_tokens_of_the_runs_candidate(smollm2, cache, tmp_path):
    cache("one")
    spec = spec_of("model.dtype=float32", *BRIEF)
    made = make(spec, tmp_path / "out", progress=silent)
    loaded = AutoModelForCausalLM.from_pretrained(made.directory)
    tokens = AutoTokenizer.from_pretrained(made.directory)("The capital of France is").input_ids
    request = Request(tuple(tokens), 24)
    assert generated(loaded, request) == measured(spec, request)
    assert loaded.config.num_hidden_layers == 6
    held = (made.directory / "model.safetensors").stat().st_size
    assert held < 130e6  # the embeddings, in float32, are 113 of them


@pytest.mark.slow
def test_the_same_is_made_twice_to_the_byte_and_once_where_it_is_kept(smollm2, cache, tmp_path):
    spec, told = spec_of("model.dtype=bfloat16", *BRIEF), []
    cache("one")
    first = make(spec, tmp_path / "first", progress=silent)
    again = make(spec, tmp_path / "again", progress=lambda *said: told.append(said[0]))
    assert "prepare" not in told
    cache("two")
    second = make(spec, tmp_path / "second", progress=silent)
    assert first.checkpoint == again.checkpoint == second.checkpoint
    assert first.checkpoint == files.content(first.directory)
    assert set(first.files) == {path.name for path in first.directory.iterdir()}
    for name in first.files:
        one, other = ((each.directory / name).read_bytes() for each in (first, second))
        assert one == other, name
    said = json.loads((first.directory / "config.json").read_text())["quantization_config"]
    assert said["ignore"] == ["lm_head"]


def test_what_was_left_is_a_model_to_measure(smollm2, cache, tmp_path):
    """Packed by compressed-tensors, and by others in its form: the record names it."""
    cache("one")
    spec = spec_of("model.dtype=bfloat16", *BRIEF)
    made = make(spec, tmp_path / "out", progress=silent)
    local = replace(spec.model, source=Source.local, path=str(made.directory), name="packed")
    assert files.facts(local, made.directory).packing == (
        "compressed-tensors, 4 bits, pack-quantized"
    )
    said = json.loads((made.directory / "config.json").read_text())
    del said["quantization_config"]["dequantize"]  # a hint of ours that others do not leave
    (made.directory / "config.json").write_text(json.dumps(said))
    engine = Transformers()
    engine.check_model(local, made.directory, CPU)
    build = Build(local, "safetensors", made.directory, made.directory)
    with engine.serve(build, CPU) as served:
        (done,) = served.complete([Request((5, 6, 7), 4)])
    assert done.tokens == 4


@pytest.fixture
def packed_config(tiny_directory):
    """Of a model that is packed in 8 bits."""
    found = config(spec_of("model=local", f"model.path={tiny_directory}").model, tiny_directory)
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "group_size": 64}
    found.quantization_config = {
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["technique=gptq_int3"], r"technique=gptq has weights of 3 bits in groups of 64, .* for 4 bits"),
        (["technique=gptq_int8"], r"technique=gptq has weights of 8 bits in one group a row"),
        (["technique=gptq", "model.dtype=float32"], "is for bfloat16 and float16: use engine=transf"),
        (["technique=gptq", "technique.gptq.group_size=1"], "groups of an even number"),
    ],
)  # fmt: skip
def test_what_vllm_has_no_kernel_for_is_one_sentence(words, said, tiny_directory):
    spec = spec_of("engine=vllm", "model=local", f"model.path={tiny_directory}", *words)
    known = config(spec.model, tiny_directory)
    with pytest.raises(Unsupported, match=said) as error:
        refuse_files(list(spec.technique.values()), known, spec.model, spec.engine, CPU)
    assert "\n" not in str(error.value)
    fits = spec_of("engine=vllm", "technique=gptq")
    refuse_files(list(fits.technique.values()), known, fits.model, fits.engine, CPU)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["engine=vllm"], "has weights of 8 bits in groups of 64"),
        (["engine=llama_cpp"], r"is packed \(compressed-tensors, 8 bits, pack-quantized\), which engine=lla"),
        (["technique=prune_depth"], "leaves no files of a checkpoint that is packed already"),
    ],
)  # fmt: skip
def test_a_packed_model_that_is_of_no_use_is_one_sentence(words, said, packed_config):
    spec = spec_of(*words)
    with pytest.raises(Unsupported, match=said):
        refuse_files(list(spec.technique.values()), packed_config, spec.model, spec.engine, CPU)


def test_what_holds_matrices_otherwise_leaves_no_packed_files():
    from transformers import GPT2Config

    spec = spec_of("technique=gptq")
    with pytest.raises(
        Unsupported, match="multiplies by what Conv1D hold: use engine=transformers"
    ):
        refuse_files(list(spec.technique.values()), GPT2Config(), spec.model, spec.engine, CPU)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["technique=early_exit"], "lives in the model's own Python code"),
        (["technique=[gptq,early_exit]"], "technique=early_exit lives in"),
        (["technique=int4_quanto"], "lives in the model's own Python code"),
        (["technique=static_cache"], r"serve the plain model with cache_implementation=static"),
        (["technique=prefix_caching", "engine=vllm"], "serve the plain model with --enable-prefix-caching"),
        (["technique=threads"], "nothing to make: set the machine"),
        (["engine=openai", "engine.url=http://h"], "which is handed no files"),
    ],
)  # fmt: skip
def test_what_leaves_no_files_is_one_sentence(words, said, tmp_path):
    with pytest.raises(Unsupported, match=said) as error:
        refuse(spec_of(*words), tmp_path / "out")
    assert "\n" not in str(error.value)


def test_nothing_is_written_over(tmp_path):
    spec = spec_of("technique=gptq")
    (tmp_path / "empty").mkdir()
    refuse(spec, tmp_path / "empty")
    for taken in (tmp_path, tmp_path / "empty" / "file"):
        (tmp_path / "empty" / "file").touch()
        with pytest.raises(UserError, match="is there already and not empty: name a new directory"):
            refuse(spec, taken)


def test_what_is_kept_is_bounded_and_what_was_changed_is_not_taken(cache, tmp_path, monkeypatch):
    cache("one")
    monkeypatch.setattr(checkpoint, "KEPT_BYTES", 3000)

    def keep(recipe, size):
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "model.safetensors").write_bytes(b"x" * size)
        checkpoint.keep(recipe, tmp_path / "made")

    keep("a", 1200)
    keep("b", 1200)
    for recipe in "ab":
        os.utime(checkpoint.folder() / recipe, (0, 0))
    assert checkpoint.kept("a").is_dir()
    keep("c", 1200)
    assert checkpoint.kept("b") is None, "it was used longest ago"
    assert checkpoint.kept("c").name == "made"
    assert checkpoint.kept_bytes() < 3000
    (checkpoint.kept("a") / "model.safetensors").write_bytes(b"y")
    assert checkpoint.kept("a") is None
    keep("d", 5000)
    assert checkpoint.kept("d") is None
    assert Path(tmp_path / "made").exists(), "whoever made it removes it"
