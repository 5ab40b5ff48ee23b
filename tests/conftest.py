"""What all tests share: a cache of converted models, and the small real model itself."""

import copy
import gc
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.tiny import tiny_llama
from hypothesis import settings

from greenbench.engines.openvino import environment as openvino
from greenbench.engines.vllm import environment
from greenbench.techniques.shared import compressor

os.environ["HF_HUB_OFFLINE"] = "1"
# A matrix unit (AMX) rounds 16-bit products by the shape of the batch, so that single rows and
# batches differ: what tests say of bits holds for the vector units that every CPU has.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")
settings.register_profile("here", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("here")
# A shell's background job ignores SIGINT, and every process the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# vLLM, llm-compressor and OpenVINO are installed once for all, whichever cache the tests have.
os.environ.setdefault("GREENBENCH_VLLM", str(environment.folder()))
os.environ.setdefault("GREENBENCH_OPENVINO", str(openvino.folder()))
os.environ.setdefault("GREENBENCH_COMPRESSOR", str(compressor.OWN.folder()))
CACHE = Path(
    os.environ.setdefault("GREENBENCH_CACHE", str(Path(tempfile.gettempdir()) / "greenbench-tests"))
)


# Neither what is imported nor the tests themselves are ever garbage: to look through them takes a second.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_addoption(parser):
    parser.addoption(
        "--renew-golden",
        action="store_true",
        help="write tests/report/golden/*/leaderboard.md anew; look at the difference before you commit",
    )


@pytest.fixture(scope="session")
def smollm2():
    """Spec and directory of the embedded model, converted once."""
    from greenbench.campaign.compose import plan
    from greenbench.models import files

    spec = plan(["model=smollm2-135m"], multirun=False)[0].spec.model
    return spec, files.directory(spec)


@pytest.fixture
def traced(monkeypatch):
    """torch.compile without its code generator: what is traced, guarded and traced again is real."""
    real = torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, mode, fullgraph: real(function, backend="eager", fullgraph=fullgraph),
    )


@pytest.fixture
def tiny():
    """A fresh random Llama of 4 blocks."""
    return tiny_llama()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub's cache as earlier downloads left it: org/tiny, two `commits`, `main` at the first."""
    repository = tmp_path / "hub" / "models--org--tiny"
    commits = ["0123456789abcdef0123456789abcdef01234567", "89abcdef" * 5]
    for seed, commit in enumerate(commits):
        tiny_llama(seed=seed).save_pretrained(repository / "snapshots" / commit)
    main = repository / "refs" / "main"
    main.parent.mkdir()
    main.write_text(commits[0])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return SimpleNamespace(commits=commits, main=main)


@pytest.fixture(scope="session")
def tiny_drafter(tmp_path_factory):
    """A directory with a shallower model of the tiny one's vocabulary."""
    path = tmp_path_factory.mktemp("drafts") / "shallow"
    tiny_llama(layers=1).save_pretrained(path)
    return path


@pytest.fixture
def tiny_directory(tmp_path, smollm2):
    """A local model directory: a tiny random Llama with the embedded model's real tokenizer."""
    return tiny_checkpoint(tmp_path / "tiny-llama", smollm2)


@pytest.fixture(scope="module")
def shared_tiny_directory(tmp_path_factory, smollm2):
    """The same for all tests of a module."""
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny-llama", smollm2)


def tiny_checkpoint(path, smollm2):
    """Writes it to `path`."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(smollm2[1])
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        pad_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory):
    """The fake NVML, compiled and named as the loader looks for it; tests/helpers/fakes/nvml.c says more."""
    source = Path(__file__).parent / "helpers" / "fakes" / "nvml.c"
    library = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", library, source, "-lm"], check=True)
    return library


@pytest.fixture
def fake_nvml(nvml_library, tmp_path, monkeypatch):
    """Call with a script: pynvml then talks to that machine. Returns its clock, which we move."""
    import ctypes

    import pynvml
    from helpers.moved_clock import MovedClock

    library = ctypes.CDLL(str(nvml_library))
    library.fake_nvml_time.argtypes = [ctypes.c_double]
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})

    def attach(script):
        path = tmp_path / "nvml.txt"
        path.write_text(script)
        monkeypatch.setenv("FAKE_NVML", str(path))
        clock = MovedClock(library.fake_nvml_time)
        clock.sleep(0)
        return clock

    yield attach
    while not library.nvmlShutdown():
        pass  # a test that failed may have left NVML open


@pytest.fixture
def gpu_environment(nvml_library, tmp_path):
    """Call with a script: the environment of a process that sees that machine, in real time."""

    def environment(script):
        path = tmp_path / "gpu.txt"
        path.write_text(script)
        fake = {"FAKE_NVML": str(path), "LD_LIBRARY_PATH": str(nvml_library.parent)}
        return os.environ | fake

    return environment


@pytest.fixture
def with_gpu(gpu_environment):
    """Call with a script and code: what the code prints in a process that sees that machine."""

    def run(script, code):
        return subprocess.run(
            [sys.executable, "-c", code],
            env=gpu_environment(script),
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    return run


@pytest.fixture(scope="session")
def tokenizer(smollm2):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2[1])


@pytest.fixture(scope="session")
def config(tokenizer):
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=len(tokenizer),
        initializer_range=0.2,  # so that its answers differ from each other
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )


@pytest.fixture(scope="session")
def make_model(config):
    """Makes fresh models in float32, all the same."""
    import torch
    from transformers import LlamaForCausalLM

    def make():
        torch.manual_seed(0)
        return LlamaForCausalLM(copy.deepcopy(config)).eval()

    return make


@pytest.fixture
def small_model(make_model):
    return make_model()
