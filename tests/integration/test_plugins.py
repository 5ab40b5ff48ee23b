"""What comes from outside as one file is found in the help, in a run, in its family on the page."""

import itertools
import json
import os
import re
import threading
from pathlib import Path

import pytest
from helpers import engines

import greenbench
from greenbench.schema.metrics import ENERGY_PER_TOKEN

ROOT = Path(greenbench.__file__).parents[1]
HALVE = '''
"""A technique of its own."""

from dataclasses import dataclass

from greenbench.schema.technique import Promise
from greenbench.techniques import Edited, ModelEdit


@dataclass(frozen=True)
class Halve(ModelEdit):
    """Halves the output head."""

    name = "halve"
    summary = "halves the output head"

    times: int = 1

    def promise(self, model):
        return Promise(note="nothing")

    def edit(self, model, work):
        model.lm_head.weight.data /= 2**self.times
        return Edited(model)
'''
USB = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs/add-a-meter.md").read_text(), re.M | re.S
)[0]
POINTS = """
[greenbench.meters]
usb = one_file.usb
[greenbench.techniques]
halve = one_file.quantization.halve
[greenbench.engines]
spinning = helpers.engines
"""
TESTS = Path(engines.__file__).parents[1]


@pytest.fixture
def beside(bench, tmp_path):
    """The bench with a package that is installed beside GreenBench: no YAML is in it."""
    site = tmp_path / "site"
    folder = site / "one_file" / "quantization"
    folder.mkdir(parents=True)
    (folder / "halve.py").write_text(HALVE)
    (site / "one_file" / "usb.py").write_text(USB)
    for package in (site / "one_file", folder):
        (package / "__init__.py").touch()
    info = site / "one_file-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: one-file\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    path = [str(site), str(TESTS), bench.environment["PYTHONPATH"]]
    bench.environment["PYTHONPATH"] = os.pathsep.join(path)
    return bench


def test_a_technique_is_one_file(beside):
    assert re.search(
        r"^  halve +halves the output head$", beside.run("--help", quick=False)[1], re.M
    )
    status, output = beside.run("technique=halve", "technique.halve.times=2")
    assert status == 0, output
    (record,) = beside.records()
    assert record["name"] == "halve(2)"
    assert record["techniques"][0]["family"] == "quantization"
    page = (beside.results / "index.html").read_text()
    (data,) = re.findall(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', page, re.S)
    (run,) = json.loads(data)["runs"]
    assert run["families"] == ["quantization"]


@pytest.fixture
def plugged(tmp_path):
    """A device that counts a milliwatt-hour every 10 ms."""
    device = tmp_path / "ttyUSB0"
    device.write_text("0")
    ended = threading.Event()

    def count():
        for number in itertools.count(1):
            if ended.wait(0.01):
                return
            fresh = device.with_suffix(".new")
            fresh.write_text(str(number))
            fresh.replace(device)

    thread = threading.Thread(target=count)
    thread.start()
    yield device
    ended.set()
    thread.join()


def test_a_meter_is_one_file(beside, plugged):
    """The one of the page that says how to add one."""
    assert re.search(r"^  usb +a USB plug that counts", beside.run("--help", quick=False)[1], re.M)
    beside.environment["USB_METER"] = str(plugged)
    status, output = beside.run("meter.order=[usb]", "technique=none", "protocol.window_s=0.3")
    assert status == 0, output
    assert "joules by usb\n" in output
    (record,) = beside.records()
    assert record["meter"]["used"] == ["usb"]
    assert record["spec"]["meter"]["order"] == ["usb"]
    watts = 3.6 / 0.01
    energy = record["candidate"]["metrics"][ENERGY_PER_TOKEN.name]
    assert energy["provenance"] == "measured:plugin"
    for window in generating(record):
        (span,) = window["energy"]
        assert span["boundary"] == "wall"
        assert 0.3 * watts < (span["end_j"] - span["start_j"]) / (span["end_s"] - span["start_s"])
    beside.environment["USB_METER"] = str(plugged.with_name("nothing"))
    status, output = beside.run("meter.order=[usb]", "technique=none", "seed=1")
    assert status == 2
    assert "meter.order=[usb] does not answer here (The USB meter does not answer" in output


def generating(record, who="candidate"):
    return [w for w in record["windows"] if (w["phase"], w["who"]) == ("generate", who)]


def watts(record):
    """Of the candidate's generation, by the estimate, which is made of CPU time."""
    spans = [window["energy"][0] for window in generating(record)]
    joules = sum(span["end_j"] - span["start_j"] for span in spans)
    return joules / sum(span["end_s"] - span["start_s"] for span in spans)


def test_an_engine_is_one_file_and_what_its_processes_do_is_the_runs_own(beside):
    """One spins in the run's process, one in a child's: the joules are the same."""
    said = beside.run("--help", quick=False)[1]
    assert re.search(r"^  echo +spins for each token$", said, re.M)
    status, output = beside.run(
        "--multirun", "engine=echo,aside", "technique=none", "protocol.window_s=0.3"
    )
    assert status == 0, output
    records = {record["spec"]["engine"]["name"]: record for record in beside.records()}
    assert records["echo"]["spec"]["engine"] == {"name": "echo", "token_s": 0.002}
    for name, record in records.items():
        assert record["status"] == "completed"
        said = {
            "name": name, "version": None, "changed": {}, "system": None, "probe": {}, "eager": {},
        }  # fmt: skip
        assert record["engine"] == said
        assert record["ratios"]["tokens_per_s"]["value"] == pytest.approx(1, abs=0.3)
        assert record["candidate"]["metrics"]["model_bytes"]["value"] is None
        assert "does not tell" in record["candidate"]["footprint_reason"]
        assert record["quality"][0]["change"]["value"] == 0
        assert not {"foreign_process"} & {code for w in record["windows"] for code in w["codes"]}
    assert watts(records["aside"]) == pytest.approx(watts(records["echo"]), rel=0.3)
    leaderboard = (beside.results / "leaderboard.md").read_text()
    assert leaderboard.count("with echo") >= 1
    assert leaderboard.count("with aside") >= 1


@pytest.mark.parametrize(
    ("arguments", "asleep"),
    [
        (("technique=none",), "baseline or candidate"),
        (("technique=engine", "technique.engine.to=echo"), "baseline"),
    ],
)
def test_an_engine_that_can_sleep_does_where_two_do_not_fit(beside, arguments, asleep):
    status, output = beside.run(
        "engine=drowsy", *arguments, "protocol.design=sequential", "protocol.window_s=0.1"
    )
    assert status == 0, output
    (record,) = beside.records()
    assert record["status"] == "completed"
    assert record["design"] == "sequential"
    assert record["design_reason"] == (
        f"protocol.design=sequential asks for it; the {asleep} sleeps while it waits"
    )


def test_two_engines_of_a_pair_may_both_come_from_outside(beside):
    status, output = beside.run("engine=echo", "technique=engine", "technique.engine.to=aside")
    assert status == 0, output
    (record,) = beside.records()
    assert record["candidate_engine"]["name"] == "aside"
    assert set(record["spec"]["inputs"]["plugins"]) == {"helpers"}
    assert record["waiting"]["cpu"]["candidate"]["value"] < 0.05


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("engine=nope",),
            "engine=nope is unknown: allowed are aside, drowsy, echo, llama_cpp, openai, openvino, "
            "transformers, vllm",
        ),
        (("engine=echo", "engine.token_s=soon"), "engine.token_s"),
        (("engine=echo", "technique=int8_bnb"), "which engine=echo does not run"),
    ],
)
def test_what_an_engine_cannot_do_is_one_sentence_before_anything_loads(beside, arguments, said):
    status, output = beside.run(*arguments)
    assert status in (1, 2)
    assert said in output
    assert "Traceback" not in output
