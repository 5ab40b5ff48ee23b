"""What runs will take is told without a hub: what a task needs of it is said, and comes with the run."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from helpers.agent import agent
from helpers.fakes import hub

TASK = """
task: mine
dataset_path: org/questions
output_type: multiple_choice
validation_split: train
doc_to_text: "{{q}}"
doc_to_target: a
doc_to_choice: ["no", "yes"]
metric_list: [{metric: acc}]
"""
ONE_RUN = ["model=smollm2-135m", "task=smoke", "device=cpu", "technique=none"]
NOT_HERE = "The data of mine is not here and is fetched only for a run: whether it can be asked"


@pytest.fixture
def theirs(tmp_path):
    """A task of somebody's, a hub that has its data, and what the hub was asked for."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text(TASK)
    (tmp_path / "mine" / "task").mkdir(parents=True)
    values = f"names: [mine, sst2]\nitems: 2\ninclude_path: {tmp_path / 'tasks'}\n"
    (tmp_path / "mine" / "task" / "theirs.yaml").write_text(f"defaults: [smoke]\n{values}")
    data = tmp_path / "questions"
    data.mkdir()
    rows = [json.dumps({"q": f"Is {number}?", "a": number % 2}) for number in range(8)]
    (data / "train.jsonl").write_text("\n".join(rows))
    with hub.serving({"datasets/org/questions": data}) as (url, requests):
        place = {
            "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        }  # fmt: skip
        yield SimpleNamespace(folder=tmp_path, environment=place, requests=requests)


def call(there, *words):
    done = subprocess.run(
        [sys.executable, "-m", "greenbench", *words, "--config-dir=mine"],
        check=False, env=os.environ | there.environment, cwd=there.folder, capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_only_foreseen_fetches_no_data_and_says_so(theirs):
    asked = [*ONE_RUN, "task=theirs"]
    with agent("results", "--config-dir=mine", cwd=theirs.folder, **theirs.environment) as one:
        told = one.told("estimate", overrides=asked)
        assert told["runs_to_measure"] == 1
        assert told["in_all"].startswith("1 runs to measure: at least ")
        assert NOT_HERE in told["in_all"]
        assert NOT_HERE in call(theirs, "bench", "--list", *asked).splitlines()[-1]
        assert theirs.requests == []
        assert not (theirs.folder / "home").exists()
        wrong = one.ask("estimate", overrides=[*asked, "task.filter=nope", "task.names=[sst2]"])
        assert wrong.failed
    call(theirs, "fetch", *asked)
    assert theirs.requests
    theirs.requests.clear()
    last = call(theirs, "bench", "--list", *asked).splitlines()[-1]
    assert last.startswith("# 1 runs to measure: at least ")
    assert "is not here" not in last
    assert theirs.requests == []
