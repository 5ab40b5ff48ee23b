"""Records that earlier commits wrote load, say what was done to them, and change nothing else."""

import json
from pathlib import Path

import pytest
from helpers import factory

from greenbench.analysis.groups.comparable import setting
from greenbench.analysis.groups.rows import technique
from greenbench.analysis.trust.checked import shortened
from greenbench.cli.main import main
from greenbench.records.store import canonical, load, parse
from greenbench.records.upgrades import FAMILIES, LIFTED, NOTE, upgraded
from greenbench.techniques import discover

OLD = Path(__file__).parent / "old_records"
EARLY = OLD / "b5195f5.json"  # as the factory of that commit wrote it


def early(**changes):
    return json.loads(EARLY.read_bytes()) | changes


def test_an_early_record_gets_its_joules_of_preparation():
    (record,) = load([OLD]).records
    before = early()
    (window,) = [w for w in before["windows"] if w["phase"] == "prepare"]
    span = window["energy"][0]
    energy = record.techniques[0].prepare_energy
    assert energy.value == span["end_j"] - span["start_j"] > 0
    assert energy.provenance == span["provenance"]
    assert record.environment[NOTE]
    after = json.loads(canonical(record))
    assert after["ratios"] == before["ratios"]
    assert len(after["windows"]) == len(before["windows"])


@pytest.mark.parametrize("changes", [{"windows": []}, {"techniques": early()["techniques"] * 2}])
def test_joules_of_a_part_are_never_guessed(changes):
    found = upgraded(early(**changes))
    for part in found["techniques"]:
        assert part["prepare_energy"]["value"] is None
        assert part["prepare_energy"]["reason"]


@pytest.mark.parametrize(
    "document", [None, 1, [], {}, {"techniques": [{}]}, {"techniques": [{}], "windows": [{}]}, "x"]
)
def test_what_is_no_record_is_left_alone(document):
    assert upgraded(document) is None


def test_a_present_record_is_not_upgraded(tmp_path):
    (tmp_path / "x.json").write_bytes(canonical(factory.record()))
    (record,) = load([tmp_path]).records
    assert NOTE not in record.environment


def test_every_command_reads_an_early_record(tmp_path, capsys):
    assert main(["report", str(OLD), "-o", str(tmp_path)]) == 0
    text = (tmp_path / "leaderboard.md").read_text()
    assert "## Upgraded records" in text
    assert "joules of the preparation" in text
    for words in (["advise", str(OLD)], ["export", str(OLD)], ["compare", str(OLD), str(OLD)]):
        assert main(words) == 0, words
    capsys.readouterr()


COMMITTED = OLD.parents[1] / "report" / "golden" / "cpu" / "records"


@pytest.mark.parametrize("file", sorted(COMMITTED.glob("*.json")), ids=lambda file: file.stem)
def test_a_record_of_version_1_is_lifted_and_loses_nothing(file):
    before = json.loads(file.read_bytes())
    record = parse(file)
    assert (record.schema_version, record.environment[NOTE]) == (2, [LIFTED])
    assert record.key == file.stem == before["key"]
    assert record.engine.name == record.spec.engine.name == "transformers"
    assert record.engine.version == before["environment"]["packages"]["transformers"]
    assert record.spec.load.arrivals == "closed"
    assert record.spec.slo.ttft_ms is record.spec.slo.tpot_ms is None
    assert record.spec.inputs is None
    spec = record.spec.model_dump(
        mode="json", exclude={"engine", "load", "slo", "inputs", "session", "training"}
    )
    in_words = {
        "chat_template": "auto",
        "filter": None,
        "metric": None,
        "answer_tokens": None,
        "sampling": "greedy",
        "allow_code_execution": False,
        "allow_task_code": False,
    }
    assert spec.pop("device") == before["spec"].pop("device") | {"uuids": None}
    assert spec["protocol"].pop("profile") == "never"
    assert spec == before["spec"] | {"task": before["spec"]["task"] | in_words}
    for window, old in zip(record.windows, before["windows"], strict=True):
        assert window.block == old["block"]
        assert (window.place and window.place.position) == old["position"]
    folders = {"early_exit": "early_exit", "self_speculative": "early_exit"}
    for part in record.techniques:
        assert part.family == folders.get(part.name, "quantization")
    assert parse(file) == record
    brief = shortened(file)
    assert (brief.setting, brief.label) == (setting(record), technique(record))


def test_rounds_of_version_1_become_places():
    window = {"block": None, "round": 3, "position": 5, "bin": "hard"}
    document = upgraded(early(windows=[window]) | {"techniques": []})
    assert document["windows"] == [
        {"place": {"series": "round", "unit": 3, "position": 5, "bin": "hard"}}
    ]


def test_every_technique_has_its_folder_for_a_family():
    folders = {cls.name: cls.__module__.split(".")[2] for cls in discover().values()}
    assert {name: folders[name] for name in FAMILIES} == FAMILIES
