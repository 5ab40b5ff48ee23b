"""What a hub gives comes before the first run: told, refused in a sentence, fetched once by its client."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from helpers.fakes import hub as fake

from greenbench.campaign import downloads
from greenbench.campaign.compose import plan
from greenbench.errors import UserError
from greenbench.wording import number

MODEL = ["model=hub", "model.id=org/tiny"]


@pytest.fixture
def call(tmp_path):
    """Calls ``greenbench``, to which the fake hub at `url` is the hub."""

    def run(url, *words):
        environment = {
            **os.environ,
            "HF_ENDPOINT": url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "greenbench", *words],
            check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        return SimpleNamespace(status=done.returncode, out=done.stdout, said=done.stderr)

    return run


def test_all_files_come_once_and_it_says_how_much_that_is(call, tiny_directory, tmp_path):
    with fake.serving({"org/tiny": tiny_directory}) as (url, requests):
        first = call(url, "fetch", *MODEL)
        assert first.status == 0, first.said
        assert "to download first: org/tiny " in first.said
        assert "are free for the hub's cache" in first.said
        snapshot = tmp_path / "home" / "hub" / "models--org--tiny" / "snapshots" / fake.COMMIT
        assert f"tiny is in {snapshot}" in first.said
        for path in tiny_directory.glob("*.safetensors"):
            assert (snapshot / path.name).read_bytes() == path.read_bytes()
        del requests[:]
        again = call(url, "fetch", *MODEL)
        assert again.status == 0
        assert "to download" not in again.said
        assert not [path for method, path in requests if method == "GET" and "resolve" in path]
    offline = call(url, "fetch", *MODEL)  # the hub is gone, and not needed
    assert offline.status == 0, offline.said


def test_a_gated_model_and_one_that_is_not_there_are_told_together_before_any_byte(
    call, tiny_directory, tmp_path
):
    with fake.serving({"org/tiny": tiny_directory}, gated=["org/tiny"]) as (url, requests):
        asked = ["model=hub", "model.id=org/tiny,org/none", "--multirun"]
        done = call(url, "bench", *asked)
    assert done.status == 2
    assert "Model org/tiny is gated: accept its licence" in done.said
    assert "Model org/none" in done.said
    assert "Traceback" not in done.said
    assert not [path for method, path in requests if method == "GET" and "resolve" in path]
    assert not list((tmp_path / "results").glob("records/*"))


def test_nothing_is_fetched_for_a_device_that_cannot_be_used(call, tiny_directory):
    with fake.serving({"org/tiny": tiny_directory}) as (url, requests):
        done = call(url, "bench", *MODEL, "device=cuda")
    assert done.status == 2
    assert "device=cuda was asked for, but torch sees no CUDA device here" in done.said
    assert "fetched" not in done.said
    assert not [path for method, path in requests if method == "GET" and "resolve" in path]


def test_a_hub_that_cannot_be_reached_is_one_sentence_for_all_runs(call, tmp_path):
    with fake.serving({}) as (url, _):
        pass
    done = call(url, "bench", "--multirun", *MODEL, "technique=none,int8_bnb,gptq")
    assert done.status == 2
    assert done.said.count("can neither be reached on the hub nor found") == 1
    assert not list((tmp_path / "results").glob("records/*"))


def test_a_draft_from_the_hub_comes_with_the_model(call, tiny_directory):
    with fake.serving({"org/tiny": tiny_directory, "org/draft": tiny_directory}) as (url, _):
        done = call(
            url, "fetch", *MODEL, "technique=speculative", "technique.speculative.draft=org/draft"
        )
    assert done.status == 0, done.said
    assert "org/tiny" in done.said
    assert "fetched org/draft" in done.said


def test_what_is_to_come_is_in_the_list_and_none_of_it_comes(call, tiny_directory):
    listed = ["bench", *MODEL, "device=cpu", "task=smoke", "--list"]
    with fake.serving({"org/tiny": tiny_directory}) as (url, requests):
        done = call(url, *listed)
    assert done.status == 0, done.said
    assert "\n# to download first: org/tiny " in done.out
    assert not [path for method, path in requests if method == "GET" and "resolve" in path]
    away = call(url, *listed)  # the hub is gone
    assert away.status == 0, away.said
    assert away.out.count("can neither be reached on the hub nor found") == 1


def test_what_does_not_fit_on_the_disk_is_refused(monkeypatch):
    (job,) = plan(MODEL, multirun=False)
    monkeypatch.setattr(downloads.files, "missing_bytes", lambda model: 5_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=6_000_000_000))
    said = []
    with pytest.raises(UserError, match=r"is 5\.0 GB, and 6\.0 GB are free .* HF_HOME"):
        downloads.fetch([job.spec], said.append)
    assert said == ["to download first: org/tiny 5.0 GB; 6.0 GB are free for the hub's cache"]


KERNEL = "kernels-community/tiny-flash-attn"
ATTEND = ["technique=attention", f"technique.attention.implementation={KERNEL}"]


@pytest.fixture(params=["ask", "bring"])
def no_build(request, monkeypatch):
    """A kernel that its hub has not, or has in no build for this torch; what models were fetched."""

    def refuse(name):
        raise UserError(f"attention={name} can neither be had from the hub nor found.")

    failing = {"ask": "missing_bytes", "bring": "fetch"}[request.param]
    kernels = {"missing_bytes": lambda name: None, "fetch": lambda name: None, failing: refuse}
    for name, function in (kernels | {"lacking": lambda: None}).items():
        monkeypatch.setattr(f"greenbench.engines.transformers.hub_kernels.{name}", function)
    fetched = []
    monkeypatch.setattr(downloads.files, "missing_bytes", lambda model: 10**6)
    monkeypatch.setattr(downloads.files, "directory", lambda model: fetched.append(model.id))
    return fetched


def test_a_kernel_that_cannot_be_had_ends_its_own_run_only(no_build):
    """That run is refused by its technique, as it asks for what is not there."""
    specs = [plan([*MODEL, *words], multirun=False)[0].spec for words in ([], ATTEND)]
    said = []
    downloads.fetch(specs, said.append)
    assert no_build == ["org/tiny"]
    assert said[-2:] == [
        "fetched org/tiny", f"attention={KERNEL} can neither be had from the hub nor found.",
    ]  # fmt: skip


def test_where_all_runs_need_a_kernel_that_cannot_be_had_none_starts(no_build):
    (job,) = plan([*MODEL, *ATTEND], multirun=False)
    with pytest.raises(UserError, match=rf"^attention={KERNEL} can neither be had"):
        downloads.fetch([job.spec, job.spec], lambda said: None)


def test_models_from_wheels_and_directories_ask_no_hub(monkeypatch):
    (job,) = plan(["model=smollm2-135m"], multirun=False)
    asked, said = [], []
    monkeypatch.setattr(downloads.files, "missing_bytes", asked.append)
    downloads.fetch([job.spec], said.append)
    assert asked == said == []


TASK = """
task: {name}
dataset_path: org/questions
dataset_name: {config}
output_type: multiple_choice
validation_split: validation
doc_to_text: "{{{{q}}}}"
doc_to_target: a
doc_to_choice: ["no", "yes"]
metric_list:
  - metric: acc
"""
CARD = """---
configs:
- config_name: small
  data_files:
  - split: validation
    path: data/small*.jsonl
- config_name: large
  data_files:
  - split: validation
    path: [data/large.jsonl]
- config_name: other
  data_files: data/other.jsonl
---
"""


@pytest.fixture
def questions(tmp_path):
    """A data set of three configurations, of so many questions."""
    root = tmp_path / "questions"
    (root / "data").mkdir(parents=True)
    for name, count in {"small-0": 20, "small-1": 30, "large": 400, "other": 7}.items():
        rows = [json.dumps({"q": f"Is {index} {name}?", "a": index % 2}) for index in range(count)]
        (root / "data" / f"{name}.jsonl").write_text("\n".join(rows))
    (root / "README.md").write_text(CARD)
    return root


def asked(folder, *configs):
    """The override that asks for tasks of these configurations."""
    for config in configs:
        (folder / f"{config}.yaml").write_text(TASK.format(name=f"my_{config}", config=config))
    return f"task.names=[{','.join(str(folder / f'{config}.yaml') for config in configs)}]"


def test_the_data_of_tasks_is_told_before_it_comes_and_once(call, questions, tmp_path):
    """Of the configurations that are asked for, and no others."""
    words = ("fetch", "model=smollm2-135m", asked(tmp_path, "small", "large"))
    with fake.serving({"datasets/org/questions": questions}) as (url, _):
        first = call(url, *words)
        assert first.status == 0, first.said
        parts = [questions / "data" / f"{name}.jsonl" for name in ("small-0", "small-1", "large")]
        size = number(sum(path.stat().st_size for path in parts) / 1e6)
        assert f"to download first: data set org/questions {size} MB; " in first.said
        again = call(url, *words)
        assert again.status == 0, again.said
        assert "to download" not in again.said
    offline = call(url, *words)  # the hub is gone, and not needed
    assert offline.status == 0, offline.said
    assert "to download" not in offline.said


def test_where_the_hub_does_not_say_which_files_are_meant_their_size_is_unknown(
    call, questions, tmp_path
):
    (questions / "README.md").unlink()
    with fake.serving({"datasets/org/questions": questions}) as (url, _):
        done = call(url, "fetch", "model=smollm2-135m", asked(tmp_path, "small"))
    assert "to download first: data set org/questions of unknown size; " in done.said
    assert "Traceback" not in done.said
