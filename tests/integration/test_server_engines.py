"""Whole runs through servers: the real llama.cpp, started by us and running already."""

import json
import sys
from contextlib import ExitStack

import pytest
from helpers.fakes.openai_server import FakeOpenAI
from helpers.served import goes_on
from helpers.servers import marked

from greenbench.engines.llama_cpp.engine import SERVE
from greenbench.engines.llama_cpp.gguf_writer import convert
from greenbench.engines.serving.server import Program, started
from greenbench.schema.enums import Dtype

pytest.importorskip("xllamacpp", reason="no wheel of llama.cpp for this system")


def codes(record):
    return {code for window in record["windows"] for code in window["codes"]}


def near_zero(record):
    """Which texts llama.cpp computes beside each other differs, and with it the last digits."""
    return all(abs(score["change"]["value"]) < 1e-3 for score in record["quality"])


def test_both_models_of_a_run_are_served_by_llama_cpp(bench):
    status, output = bench.run(
        "--multirun", "engine=llama_cpp", "engine.threads=1", "technique=none,gguf",
        "workload.batch_size=2", "protocol.window_s=0.3",
    )  # fmt: skip
    assert status == 0, output
    assert "start llama_cpp" in output
    same, small = sorted(bench.records(), key=lambda record: len(record["techniques"]))
    for record in (same, small):
        assert record["status"] == "completed"
        assert record["engine"]["name"] == "llama_cpp"
        assert "AVX" in record["engine"]["system"] or "NEON" in record["engine"]["system"]
        assert max(record["engine"]["probe"].values()) < 0.1
        assert "foreign_process" not in codes(record)
        assert record["design"] == "interleaved"
        assert {score["task"] for score in record["quality"]} == {"sst2", "wikipedia_bpb"}
        (text,) = (score for score in record["quality"] if score["task"] == "wikipedia_bpb")
        assert "does not show the logits of whole texts" in text["fidelity_reason"]
    assert same["ratios"]["model_bytes"]["value"] == 1
    assert near_zero(same)
    (technique,) = small["techniques"]
    assert technique["family"] == "quantization"
    assert small["ratios"]["model_bytes"]["value"] == pytest.approx(
        technique["promise"]["bytes_ratio"], abs=0.01
    )
    assert set(small["candidate"]["dtypes"]) == {"f32", "q8_0"}
    mebibytes = small["candidate"]["metrics"]["host_peak_bytes"]["value"] / 2**20
    assert mebibytes < 400  # the server's own: this process, with torch in it, holds more
    logs = sorted(path.name for path in (bench.results / "logs").glob("*.llama_cpp-*.log"))
    assert len(logs) == 4
    assert not marked(str(bench.directory))  # nothing is left of it


@pytest.fixture
def running(tiny_directory, tmp_path):
    """llama.cpp with the tiny model, started by someone else."""
    file = tmp_path / "tiny.gguf"
    convert(tiny_directory, Dtype.bfloat16, "tiny", file)
    asked = {
        "model": str(file),
        "threads": 1,
        "slots": 2,
        "context": 2048,
        "folder": f"{tmp_path}/",
    }

    def command(port):
        return [sys.executable, "-I", str(SERVE), json.dumps({**asked, "port": port})]

    with started(Program("theirs", command), tmp_path / "theirs.log", lambda *_: None) as server:
        yield server


def test_a_server_that_runs_already_is_measured_against_itself(bench, running):
    bench.environment["THEIR_KEY"] = "key-that-nobody-may-see"
    status, output = bench.run(
        "engine=openai", f"engine.url={running.url}", "engine.key_variable=THEIR_KEY", "technique=none",
    )  # fmt: skip
    assert status == 0, output
    (record,) = bench.records()
    assert record["status"] == "completed"
    assert max(record["engine"]["probe"].values()) < 0.1
    assert near_zero(record)
    assert record["candidate"]["metrics"]["model_bytes"]["value"] is None
    assert not record["unscored"]
    running.require_alive()
    written = [
        path.read_text() for path in bench.results.rglob("*.*") if path.suffix in {".json", ".log"}
    ]
    assert not [text for text in written if "key-that-nobody-may-see" in text]


@pytest.mark.slow
def test_what_a_server_cannot_do_or_does_wrong_is_one_sentence_and_a_record(bench, tiny_directory):
    """Each run at a URL of its own: a sweep goes on after each."""
    mute = {"echo": False, "text": goes_on(tiny_directory)}
    scripts = {
        "another model": {},
        "cannot score": mute,
        "cut the connection": mute | {"fault": "cut"},
        "streams what is no JSON": mute | {"fault": "garbage"},
        "answers with an error (the engine is lost)": mute | {"fault": "error"},
        "answered 500 (told to fail)": {"status": 500},
        "refuses the key (401)": {"key": "another"},
    }
    with ExitStack() as stack:
        urls = {
            said: stack.enter_context(FakeOpenAI(**script)).url for said, script in scripts.items()
        }
        status, output = bench.run(
            "--multirun", "engine=openai", f"engine.url={','.join(urls.values())}", "technique=none"
        )
    assert status == 1
    assert "Traceback" not in output
    records = {record["spec"]["engine"]["url"]: record for record in bench.records()}
    found = {said: records[url] for said, url in urls.items()}
    other = found.pop("another model")["failure"]
    assert other["reason"] == "user_error"
    assert "What engine=openai serves is not tiny-llama (on a known text it is" in other["message"]
    unscored = found.pop("cannot score")
    assert unscored["status"] == "completed"
    assert unscored["quality"] == []
    assert set(unscored["unscored"]) == {"sst2", "wikipedia_bpb"}
    assert all("tells no log-probabilities" in why for why in unscored["unscored"].values())
    assert unscored["ratios"]["tokens_per_s"]["value"] > 0
    for said, record in found.items():
        wanted = "user_error" if "key" in said else "engine"
        assert record["failure"]["reason"] == wanted
        assert record["failure"]["message"].count(". ") == 0
        assert said in record["failure"]["message"]
        assert said in output
