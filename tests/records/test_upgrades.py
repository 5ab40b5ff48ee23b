"""Records that earlier commits wrote load, say what was done to them, and change nothing else."""

import json
from pathlib import Path

import pytest
from helpers import factory

from greenbench.cli.main import main
from greenbench.records.store import canonical, load
from greenbench.records.upgrades import NOTE, upgraded

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
