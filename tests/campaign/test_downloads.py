"""What a hub gives comes before the first run: told, refused in a sentence, fetched once by its client."""

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


def test_what_does_not_fit_on_the_disk_is_refused(monkeypatch):
    (job,) = plan(MODEL, multirun=False)
    monkeypatch.setattr(downloads.files, "missing_bytes", lambda model: 5_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=6_000_000_000))
    said = []
    with pytest.raises(UserError, match=r"are 5\.0 GB, and 6\.0 GB are free .* HF_HOME"):
        downloads.fetch([job.spec], said.append)
    assert said == ["to download first: org/tiny 5.0 GB; 6.0 GB are free for the hub's cache"]


def test_models_from_wheels_and_directories_ask_no_hub(monkeypatch):
    (job,) = plan(["model=smollm2-135m"], multirun=False)
    asked, said = [], []
    monkeypatch.setattr(downloads.files, "missing_bytes", asked.append)
    downloads.fetch([job.spec], said.append)
    assert asked == said == []
