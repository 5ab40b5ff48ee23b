"""Records held against their raw readings, on the command line."""

import json

import pytest
from helpers import sound

from greenbench.analysis.trust import many
from greenbench.cli.main import main
from greenbench.cli.verify import FOLLOWS
from greenbench.records.store import Store, canonical


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    store = Store(tmp_path / "results")
    for name, ratio in (("one", 0.9), ("other", 0.8)):
        store.write(sound.run(name, ratio))
    return store.records


def test_what_a_run_leaves_holds(results, capsys):
    assert main(["verify"]) == 0
    assert capsys.readouterr().out == f"2 of 2 records hold{FOLLOWS}.\n"


def test_it_says_what_it_does_not_prove(results, capsys):
    (results / "cut.json").write_text("{")
    assert main(["verify", "results"]) == 1
    assert "their raw readings, whose own truth nothing here can prove" in capsys.readouterr().out
    assert main(["verify", str(results / "cut.json")]) == 1
    assert capsys.readouterr().out.endswith("0 of 1 records hold.\n")


def test_what_is_altered_truncated_or_foreign_is_named_and_the_rest_holds(results, capsys):
    document = json.loads(canonical(sound.run("liar", 0.7)))
    document["ratios"]["energy_per_token"]["high"] = 0.71
    (results / "liar.json").write_text(json.dumps(document))
    (results / "cut.json").write_bytes(canonical(sound.run("cut", 0.6))[:-100])
    (results / "foreign.json").write_text("{}")
    assert main(["verify", "results"]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["cut.json", "foreign.json", "liar.json"]
    assert "cut short" in lines[0]
    assert "not a record of GreenBench" in lines[1]
    assert "altered" in lines[2]
    assert "ratios.energy_per_token.high is 0.71" in lines[2]
    assert last == f"2 of 5 records hold{FOLLOWS}."
    assert main(["verify", str(results / "liar.json")]) == 1


def test_of_other_code_what_differs_is_told(results, capsys):
    document = json.loads(canonical(sound.run("early", 0.7)))
    document["ratios"]["energy_per_token"]["high"] = 0.71
    document["conclusions"] = "0123456789abcdef"
    (results / "early.json").write_text(json.dumps(document))
    assert main(["verify"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("early.json: holds, by other code: ")
    assert "ratios.energy_per_token.high" in first
    assert last == f"3 of 3 records hold, 1 of them by other code than today's{FOLLOWS}."


def test_what_was_kept_of_a_record_is_not_taken_at_its_word(results, capsys, tmp_path):
    main(["report", "results"])
    for kept in (tmp_path / "cache").rglob("*.json"):
        kept.write_text(json.dumps({"refused": "kept words", "holds": True, "brief": None}))
    capsys.readouterr()
    assert main(["verify"]) == 0


@pytest.mark.parametrize("place", ["nowhere", "empty", "results/records/none.json"])
def test_where_there_is_none_it_is_one_sentence(results, capsys, tmp_path, place):
    (tmp_path / "empty").mkdir()
    assert main(["verify", place]) == 2
    said = capsys.readouterr().err
    assert f"There is no record in {place}" in said
    assert said.count("\n") == 1


def test_of_many_each_is_told_in_its_place(results, capsys):
    """By several processes, where there are several CPUs."""
    text = canonical(sound.run("copy", 0.7))
    for number in range(2 * many.FEW):
        liar = number % 50 == 7
        told = text.replace(b'"saves"', b'"costs"', 1) if liar else text
        (results / f"copy{number:03}.json").write_bytes(told)
    assert main(["verify", "results"]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"copy{number:03}.json" for number in (7, 57, 107)
    ]
    assert last == f"127 of 130 records hold{FOLLOWS}."
