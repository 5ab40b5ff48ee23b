"""Attention's kernels from a hub: fetched with the models, and loaded from the cache or not at all."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from helpers.fakes import hub, kernels_package
from helpers.techniques import FILES, HERE

from greenbench.campaign.compose import plan
from greenbench.errors import Unsupported, UserError
from greenbench.machine.detect import Machine
from greenbench.techniques.runtime.kernels_and_threads import Attention
from greenbench.wording import number

NAME = "kernels-community/tiny-flash-attn"
CPU = Machine("cpu", "some CPU", 1 << 34)
GPU = Machine("cuda", "some GPU", 1 << 34, capability=(9, 0), uuids=("GPU-0",))
OLD = Machine("cuda", "some old GPU", 1 << 34, capability=(7, 5), uuids=("GPU-0",))
ASK = ("technique=attention", f"technique.attention.implementation={NAME}")
PYTHON = f"""
import json, os, sys
import torch
from helpers.tiny import tiny_llama
from greenbench.engines.transformers.options import apply_options
from greenbench.errors import UserError
from greenbench.techniques.runtime.kernels_and_threads import Attention

technique = Attention("{NAME}").exact()
model = tiny_llama().to(torch.bfloat16)
ids = torch.arange(2, 50).view(2, 24)
with torch.inference_mode():
    before = model(ids).logits.float()
try:
    CHANGE
    told = apply_options(model, technique.options("transformers"))
except UserError as error:
    sys.exit(str(error))
with torch.inference_mode():
    after = model(ids).logits.float()
    written = model.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)
from kernels import get_loaded_kernels
(loaded,) = get_loaded_kernels()
print(json.dumps({{
    "implementation": technique.implementation, "label": technique.label(), "before": told,
    "again": apply_options(model, technique.options("transformers")),
    "has": model.config._attn_implementation, "calls": loaded.module.calls,
    "file": loaded.module.__file__, "apart": float((before - after).abs().max()),
    "scale": float(before.abs().max()), "tokens": written.shape[1] - 24,
}}))
"""


@pytest.fixture
def there(tmp_path):
    """The environment of a process that has the package; `hub` is where it asks, offline where null."""
    path = [each for each in sys.path if each]
    if find_spec("kernels") is None:
        path.insert(0, str(kernels_package.install(tmp_path / "site")))

    def environment(url):
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path),
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0" if url else "1",
            "HF_ENDPOINT": url or "http://127.0.0.1:9",
            "HF_HUB_DISABLE_XET": "1",
        }

    return environment


def ran(environment, folder, *words):
    done = subprocess.run(
        [sys.executable, *words],
        check=False, env=environment, cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return SimpleNamespace(status=done.returncode, out=done.stdout, said=done.stderr)


def fetch(environment, folder):
    return ran(environment, folder, "-m", "greenbench", "fetch", "model=smollm2-135m", *ASK)


def attend(environment, folder, change="pass"):
    """What a process without a hub does with it."""
    return ran(environment, folder, "-c", PYTHON.replace("CHANGE", change))


@pytest.fixture
def serving(tmp_path):
    """A hub that has the kernel, of this code."""

    def serving(code=kernels_package.ATTENTION):
        kernel = kernels_package.repository(tmp_path / "tiny-flash-attn", code)
        return hub.serving({f"kernels/{NAME}": kernel})

    return serving


def test_it_is_fetched_once_and_attends_as_sdpa_does_without_a_hub(serving, there, tmp_path):
    with serving() as (url, _):
        first = fetch(there(url), tmp_path)
        assert first.status == 0, first.said
        build = tmp_path / "tiny-flash-attn" / "build" / "torch-cpu"
        size = number(sum(path.stat().st_size for path in build.iterdir()) / 1e6)
        assert f"to download first: {NAME} {size} MB; " in first.said
        assert f"fetched {NAME}" in first.said
        again = fetch(there(url), tmp_path)
        assert again.status == 0, again.said
        assert "to download" not in again.said
    done = attend(there(None), tmp_path)
    assert done.status == 0, done.said
    found = json.loads(done.out.splitlines()[-1])
    assert found["implementation"] == f"{NAME}@{hub.COMMIT}"
    assert found["label"] == f"attention({NAME})"
    assert found["before"] == {"attn_implementation": "sdpa"}
    assert found["again"] == {"attn_implementation": NAME}
    assert found["has"] == NAME
    assert f"/snapshots/{hub.COMMIT}/build/torch-cpu/" in found["file"]
    assert found["calls"] == 4 + 4 * 4  # of each layer: one pass, and one for each token
    assert found["tokens"] == 4
    assert found["apart"] < 0.02 * found["scale"]


def test_what_transformers_would_run_in_its_place_is_refused(serving, there, tmp_path):
    change = 'type(model)._compatible_flash_implementations = ["eager"]'
    with serving() as (url, _):
        done = attend(there(url), tmp_path, change)
    assert done.status == 1
    assert (
        f"attention={NAME}@{hub.COMMIT} is not for LlamaForCausalLM, which transformers would run with eager"
    ) in done.said


def test_a_kernel_that_does_not_load_is_one_sentence(serving, there, tmp_path):
    with serving(kernels_package.BROKEN) as (url, _):
        done = attend(there(url), tmp_path)
    assert done.status == 1
    assert f"attention={NAME}@{hub.COMMIT} cannot be loaded (" in done.said
    assert "undefined symbol: of another torch" in done.said
    assert "Traceback" not in done.said


def test_a_kernel_that_is_not_there_is_one_sentence_before_anything_starts(there, tmp_path):
    with hub.serving({}) as (url, _):
        done = fetch(there(url), tmp_path)
    assert done.status == 2
    assert f"attention={NAME} can neither be had from the hub nor found in its cache" in done.said
    assert "Traceback" not in done.said
    check = f"""
from greenbench.engines import load
from greenbench.machine.detect import Machine
from greenbench.techniques.runtime.kernels_and_threads import Attention
Attention("{NAME}").check({GPU!r}, load("transformers")())
"""
    done = ran(there(None), tmp_path, "-c", check)
    assert f"Unsupported: attention={NAME} is not in the hub's cache" in done.said
    assert f"greenbench fetch {ASK[0]} {ASK[1]}" in done.said


def test_it_is_refused_where_it_cannot_run(monkeypatch):
    technique = Attention(NAME)
    for machine in (CPU, OLD):
        said = rf"^attention={NAME} needs a CUDA GPU .* and this run is on {machine.device_name}: "
        with pytest.raises(Unsupported, match=said):
            technique.check(machine, HERE)
    with pytest.raises(Unsupported, match="engine=vllm has its own"):
        technique.check(GPU, FILES)
    monkeypatch.setattr("transformers.utils.import_utils.is_kernels_available", lambda: False)
    with pytest.raises(Unsupported, match=r"kernels: pip install 'kernels>=[\d.]+,<[\d.]+', or"):
        technique.check(GPU, HERE)
    assert technique.exact() == technique


def test_one_that_cannot_be_had_is_refused_by_its_own_run(monkeypatch):
    """And not as it is named exactly, which would end the whole sweep."""

    def refuse(name):
        raise UserError(f"attention={name} can neither be had from the hub nor found.")

    for name, function in {
        "lacking": lambda: None,
        "fetch": refuse,
        "cached": lambda name: None,
    }.items():
        monkeypatch.setattr(f"greenbench.engines.transformers.hub_kernels.{name}", function)
    technique = Attention(NAME).exact()
    assert technique == Attention(NAME)
    with pytest.raises(
        Unsupported, match=rf"^attention={NAME} is not in the hub's cache, in a build"
    ):
        technique.check(GPU, HERE)


@pytest.mark.parametrize(
    "name", ["somebody/flash-attn", "kernels-community/a/b", "kernels-community/a:b"]
)
def test_code_of_other_publishers_and_other_shapes_are_refused(name):
    with pytest.raises(UserError, match=r"is unknown: allowed are .*kernels-community/NAME"):
        plan(
            ["technique=attention", f"technique.attention.implementation='{name}'"], multirun=False
        )


def test_its_model_runs_uncompiled_as_with_flash_attention():
    assert Attention(NAME).traits().breaks_graphs
    assert not Attention("sdpa").traits().breaks_graphs
