"""llm-compressor: what is asked of it and refused, with a fake one; what it leaves, with the real one."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.architectures import checkpoint, small_tokenizer
from helpers.servers import gone, marked
from helpers.techniques import CPU, FILES, HERE, preparation

from greenbench.engines.vllm.engine import Vllm
from greenbench.errors import EngineFault, Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.models import files, tensors
from greenbench.schema.spec import WorkloadSpec
from greenbench.techniques.quantization.gptq import Gptq
from greenbench.techniques.quantization.llm_compressor import (
    Awq,
    GptqW4a16,
    Mxfp4,
    Nvfp4,
    W8a8Fp8,
    W8a8Int8,
)
from greenbench.techniques.shared import compressor, one_shot
from greenbench.techniques.stack import require_forms

ALL = (Awq, GptqW4a16, W8a8Int8, W8a8Fp8, Nvfp4, Mxfp4)
TEXTS = ["The president of the country said that the law was passed.", "It was the first time."] * 4
real = [
    pytest.mark.compressor,
    pytest.mark.skipif(
        compressor.OWN.version("llmcompressor") is None,
        reason="the real llm-compressor is not installed: make compressor",
    ),
]


def gpu(name, *capability):
    return Machine("cuda", name, 1 << 34, capability=capability, uuids=("GPU-0",))


@pytest.fixture(scope="module")
def words():
    return small_tokenizer()


@pytest.fixture(scope="module")
def llama(words, tmp_path_factory):
    """Of widths 192, 96 and 384, which groups of 32 divide and no greater ones."""
    path = tmp_path_factory.mktemp("models") / "llama"
    wide = {"hidden_size": 192, "head_dim": 48, "intermediate_size": 352}
    return checkpoint("llama", words, path, num_hidden_layers=2, **wide)


def loaded(path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path).eval()


@pytest.fixture
def model(llama):
    return loaded(llama)


@pytest.fixture
def work(words, tmp_path):
    return replace(
        preparation(), tokenizer=words, calibration=lambda: TEXTS, workspace=tmp_path / "work"
    )


FAKE = """#!{python}
import json, os, shutil, sys, time
if {hang}:
    time.sleep(60)
job = json.load(open(sys.argv[-1]))
with open({seen!r}, "a") as seen:
    print(json.dumps([job, dict(os.environ)]), file=seen)
print("(1/2): Calibrating", flush=True)
time.sleep(0.5)
print("(2/2): Propagating", flush=True)
time.sleep(0.5)
if {says!r}:
    sys.exit({says!r})
shutil.copytree(job["model"], job["out"])
import torch
from safetensors.torch import load_file, save_file
weights = load_file(job["model"] + "/model.safetensors")
save_file({{name: weight + 1 for name, weight in weights.items()}}, job["plain"])
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Call to have an environment whose python adds 1 to all weights; what was seen of its calls."""
    folder, seen = tmp_path / "environment", tmp_path / "seen"

    def make(says="", hang=False):
        info = folder / "lib/python3.11/site-packages/llmcompressor-1.2.3.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: llmcompressor\nVersion: 1.2.3\n"
        )
        python = folder / "bin" / "python"
        python.parent.mkdir()
        python.write_text(FAKE.format(python=sys.executable, seen=str(seen), says=says, hang=hang))
        python.chmod(0o755)
        return lambda: [json.loads(line) for line in seen.read_text().splitlines()]

    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GREENBENCH_COMPRESSOR", str(folder))
    return make


# What is refused before anything is loaded


def test_without_its_environment_the_sentence_says_how_to_make_it(fake):
    with pytest.raises(Unsupported, match=r"^technique=awq is .* not there: make compressor$"):
        Awq().check(CPU, FILES)
    assert Awq().versions() == {}
    fake()
    Awq().check(CPU, FILES)
    assert Awq().versions() == {"compressor:llmcompressor": "1.2.3"}


def test_an_engine_that_has_no_such_kernels_is_refused(fake):
    fake()
    both = SimpleNamespace(name="transformers", forms=frozenset({"module", "packed"}))
    for engine in (HERE, both):
        with pytest.raises(
            Unsupported, match=r"engine=transformers does not .* use engine=vllm\.$"
        ):
            Awq().check(CPU, engine)
    gguf = SimpleNamespace(name="llama_cpp", forms=frozenset({"safetensors", "gguf"}))
    with pytest.raises(
        Unsupported, match=r"as packed, which engine=llama_cpp .* use engine=vllm\."
    ):
        require_forms([Awq()], gguf)
    require_forms([cls() for cls in ALL], Vllm())


KERNELS = {
    "awq": ("cpu", gpu("A100", 8, 0), gpu("V100", 7, 0)),
    "gptq_w4a16": ("cpu", gpu("A100", 8, 0), gpu("V100", 7, 0)),
    "w8a8_int8": ("cpu", gpu("T4", 7, 5), gpu("V100", 7, 0)),
    "w8a8_fp8": (None, gpu("H100", 9, 0), gpu("A100", 8, 0)),
    "nvfp4": (None, gpu("B200", 10, 0), gpu("H100", 9, 0)),
    "mxfp4": (None, gpu("B200", 10, 0), gpu("H100", 9, 0)),
}


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
def test_where_there_is_no_kernel_it_says_so(cls, fake):
    fake()
    on_cpu, good, old = KERNELS[cls.name]
    cls().check(good, FILES)
    with pytest.raises(
        Unsupported, match=rf"needs compute capability \d+\.\d .* is on {old.device_name}:"
    ):
        cls().check(old, FILES)
    if on_cpu:
        cls().check(CPU, FILES)
    else:
        with pytest.raises(Unsupported, match=r"needs a GPU of .* and this run is on some CPU: "):
            cls().check(CPU, FILES)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("gpt2", "has no linear layer in its blocks"),
        ("mixtral", r"hold 88\.9 % of .* this mixtral model"),
    ],
)
def test_matrices_that_it_would_pass_over_are_refused(kind, why, words, tmp_path):
    config = loaded(checkpoint(kind, words, tmp_path)).config
    with pytest.raises(Unsupported, match=why):
        Awq().check_model(config, WorkloadSpec("w"))


def test_widths_that_no_kernel_takes_and_groups_that_do_not_divide_are_refused(model):
    Awq().check_model(model.config, WorkloadSpec("w"))
    with pytest.raises(
        UserError, match=r"^technique\.awq\.group_size=128 suits no .* 192, 352 inputs"
    ):
        Awq(group_size=128).check_model(model.config, WorkloadSpec("w"))
    model.config.intermediate_size = 360
    with pytest.raises(Unsupported, match=r"^technique=w8a8_int8 .* this model has some 360 wide"):
        W8a8Int8().check_model(model.config, WorkloadSpec("w"))


@pytest.mark.parametrize(
    ("cls", "knobs"),
    [
        (Awq, {"group_size": 48}),
        (Awq, {"tries": 0}),
        (GptqW4a16, {"passages": 0}),
        (Nvfp4, {"tokens": 1}),
        (W8a8Int8, {"smoothing": 1.5}),
    ],
)
def test_knobs_out_of_range_are_one_sentence(cls, knobs):
    with pytest.raises(UserError, match=rf"^technique\.{cls.name}\.{next(iter(knobs))}="):
        cls(**knobs)


# What is asked for

WEIGHTS = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32}
PRESET = {"targets": ["Linear"], "ignore": ["lm_head"]}


def grouped(symmetric):
    weights = WEIGHTS | {"symmetric": symmetric}
    groups = {"blocks": {"targets": ["Linear"], "weights": weights}}
    return {"config_groups": groups, "ignore": ["lm_head"]}


RECIPES = {
    Awq(): {"AWQModifier": {"n_grid": 20}, "QuantizationModifier": grouped(False)},
    GptqW4a16(): {"GPTQModifier": grouped(True)},
    W8a8Int8(): {
        "SmoothQuantModifier": {"smoothing_strength": 0.8},
        "GPTQModifier": PRESET | {"scheme": "W8A8"},
    },
    W8a8Int8(smoothing=0, gptq=False): {"QuantizationModifier": PRESET | {"scheme": "W8A8"}},
    W8a8Fp8(): {"QuantizationModifier": PRESET | {"scheme": "FP8_DYNAMIC"}},
    Nvfp4(): {"QuantizationModifier": PRESET | {"scheme": "NVFP4"}},
    Mxfp4(): {"QuantizationModifier": PRESET | {"scheme": "MXFP4"}},
}


def test_a_gpu_calibrates_on_as_much_text_as_our_gptq_does():
    for calibrated in (Awq(), GptqW4a16(), W8a8Int8(), Nvfp4()):
        on = {device: calibrated.settled(device) for device in ("cpu", "cuda")}
        assert (on["cpu"].passages, on["cpu"].tokens) == (32, 256)
        assert (on["cuda"].passages, on["cuda"].tokens) == (128, 2048)
        gptq = Gptq().settled("cuda")
        assert (gptq.passages, gptq.tokens) == (128, 2048)
        assert calibrated.__class__(passages=9, tokens=99).settled("cuda").tokens == 99


@pytest.mark.parametrize("technique", RECIPES, ids=lambda technique: technique.label())
def test_a_job_is_the_librarys_recipe_and_what_comes_back_is_in_the_module(
    technique, fake, model, work
):
    seen, told = fake(), []
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    edited = technique.edit(model, replace(work, progress=lambda *step: told.append(step)))
    ((job, variables),) = seen()
    assert list(job["recipe"].items()) == list(RECIPES[technique].items())  # in order
    texts = [work.tokenizer(text)["input_ids"] for text in TEXTS]
    assert job["tokens"] == (texts if hasattr(technique, "passages") else [])
    assert told == sorted({(0, 2), (1, 2)}) or set(told) == {(0, 2), (1, 2)}
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert variables["CUDA_VISIBLE_DEVICES"] == ""
    assert edited.files == work.workspace / technique.name / "checkpoint"
    assert (edited.files / "config.json").exists()
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name] + 1)
    assert not (work.workspace / technique.name / "before").exists()
    json.dumps(work.details)
    assert work.details["compressor:llmcompressor"] == "1.2.3"


def test_a_model_that_is_made_again_is_not_computed_again(fake, llama, work):
    seen = fake()
    for _ in range(2):
        model = loaded(llama)
        Mxfp4().edit(model, replace(work, again=True))
        assert torch.equal(model.lm_head.weight, loaded(llama).lm_head.weight + 1)
    assert len(seen()) == 1
    (work.workspace / "mxfp4" / "made").write_text("1")  # another process, which was killed
    Mxfp4().edit(loaded(llama), work)
    assert len(seen()) == 2


@pytest.mark.parametrize(
    ("says", "error"),
    [("ValueError: no such scheme", EngineFault), ("CUDA error: out of memory", MemoryError)],
)
def test_a_fault_is_one_sentence(says, error, fake, model, work):
    fake(says=says)
    with pytest.raises(
        error, match=rf"^technique=awq could not .* with exit code 1: {says}: change"
    ):
        Awq().edit(model, work)


RUN = """
import sys
from pathlib import Path
from greenbench.techniques.shared.compressor import Job, compress
folder = Path(sys.argv[1])
print("ready", flush=True)
compress("awq", Job("", {}, [], "", ""), folder, "cpu", lambda *step: None)
"""


def test_sigkill_of_the_run_leaves_none_of_its_processes(fake, tmp_path):
    fake(hang=True)
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout.readline() == "ready\n"
        job = str(tmp_path / "job.json")
        while not marked(job):
            assert run.poll() is None
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        assert gone(marked(job))


def test_where_the_run_has_a_gpu_that_its_torch_does_not_see_it_stops():
    if torch.accelerator.is_available():
        pytest.skip("this machine has one")
    one_shot.require("cpu")
    with pytest.raises(RuntimeError, match=r"sees no GPU: the driver may be too old"):
        one_shot.require("cuda")


# What is promised, and what the real one leaves

STORED = {
    "awq": lambda out, into: out * into / 2 + out * into / 32 * 4 + out / 8 * into / 32 * 4 + 16,
    "gptq_w4a16": lambda out, into: out * into / 2 + out * into / 32 * 4 + 16,
    "w8a8_int8": lambda out, into: out * into + out * 4,
    "w8a8_fp8": lambda out, into: out * into + out * 4,
    "nvfp4": lambda out, into: out * into / 2 + out * into / 16 + 8,
    "mxfp4": lambda out, into: out * into / 2 + out * into / 32,
}
"""Bytes of a layer of a float32 model: codes, scales, zeros, and what else lies beside them."""


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
def test_bytes_are_promised_by_a_closed_form(cls, model):
    promise = cls().promise(model)
    before = sum(weight.nbytes for weight in model.parameters())
    layers = [layer for layer in model.model.layers.modules() if isinstance(layer, torch.nn.Linear)]
    after = before - sum(
        layer.weight.nbytes - STORED[cls.name](*layer.weight.shape) for layer in layers
    )
    assert promise.bytes_ratio == pytest.approx(after / before, rel=1e-12)
    assert (promise.flops_ratio, promise.touched) == (1.0, 1.0)
    assert promise.kernel in promise.note


FAR = {
    "awq": 0.25, "gptq_w4a16": 0.25, "w8a8_int8": 0.02, "w8a8_fp8": 0.1, "nvfp4": 0.3, "mxfp4": 0.3,
}  # fmt: skip
"""Of the plain model's logits, relative, at most: random weights are harder to round than trained ones."""


class TestReal:
    pytestmark = real

    @pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.name)
    def test_the_checkpoint_holds_what_was_promised_and_the_module_what_it_stands_for(
        self, cls, model, llama, work
    ):
        technique = cls()
        before = sum(weight.nbytes for weight in model.parameters())
        promise = technique.promise(model)
        edited = technique.edit(model, work)
        (file,) = files.weights(edited.files)
        stored = sum(
            each["data_offsets"][1] - each["data_offsets"][0]
            for each in tensors.header(file).values()
        )
        assert stored == round(promise.bytes_ratio * before)
        config = json.loads((edited.files / "config.json").read_text())["quantization_config"]
        assert config["quant_method"] == "compressed-tensors"
        assert config["ignore"] == ["lm_head"]
        plain = loaded(llama)
        ids = torch.tensor([work.tokenizer(TEXTS[0])["input_ids"]])
        said, now = plain(ids).logits, edited.model(ids).logits
        error = ((said - now).norm() / said.norm()).item()
        assert 0 < error < FAR[cls.name]
        assert torch.equal(edited.model.lm_head.weight, plain.lm_head.weight)

    def test_a_fault_of_the_library_is_one_sentence(self, model, work, monkeypatch):
        monkeypatch.setattr(Mxfp4, "scheme", "MXFP5")
        with pytest.raises(
            EngineFault, match=r"^technique=mxfp4 .* exit code 1: ValidationError: .*MXF"
        ) as found:
            Mxfp4().edit(model, work)
        assert "\n" not in str(found.value)
