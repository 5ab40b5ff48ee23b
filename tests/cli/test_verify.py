"""Records held against their raw readings, on the command line."""

import json
import shutil
import subprocess

import pytest
from helpers import sound

from greenbench.analysis.trust import many
from greenbench.cli.main import main
from greenbench.cli.verify import FOLLOWS
from greenbench.records.store import Store, canonical, sealed


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
    (results / "early.json").write_text(json.dumps(sealed(document)))
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


KEYGEN = shutil.which("ssh-keygen")
needs_keygen = pytest.mark.skipif(KEYGEN is None, reason="needs OpenSSH's ssh-keygen")


def key_of(folder, name):
    """A private key, and the line of a signers' file that names it."""
    path = folder / name
    asked = [KEYGEN, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
    subprocess.run(asked, check=True)
    return path, f"{name}@example.org {path.with_suffix('.pub').read_text()}"


@needs_keygen
def test_records_are_signed_and_the_signature_is_asked_for(results, tmp_path, capsys):
    mine, line = key_of(tmp_path, "mine")
    theirs, _ = key_of(tmp_path, "theirs")
    (tmp_path / "signers").write_text(line)
    first, second = sorted(results.glob("*.json"))
    assert main(["sign", str(first), "--key", str(mine)]) == 0
    assert main(["sign", str(second), "--key", str(theirs)]) == 0
    capsys.readouterr()
    assert main(["verify", "--signers", "signers"]) == 1
    told, last = capsys.readouterr().out.splitlines()
    assert told == f"{second.name}: refused. It is signed by none of the signers."
    assert last.startswith("1 of 2 records hold and are signed: ")
    assert main(["sign", "--key", str(mine)]) == 0  # again, all of them
    assert main(["merge", "results", "-o", "all"]) == 0
    assert main(["verify", "all", "--signers", "signers"]) == 0
    (tmp_path / "all" / "records" / f"{first.name}.sig").unlink()
    capsys.readouterr()
    assert main(["verify", "all", "--signers", "signers"]) == 1
    assert f"{first.name}: refused. It is not signed." in capsys.readouterr().out
    assert main(["verify", "all"]) == 0  # nobody asks for it


@needs_keygen
def test_a_signature_is_of_these_bytes_and_made_for_records(results, tmp_path, capsys):
    mine, line = key_of(tmp_path, "mine")
    (tmp_path / "signers").write_text(f"# mine\n{line}")
    first, second = sorted(results.glob("*.json"))
    assert main(["sign", "--key", str(mine)]) == 0
    first.write_bytes(first.read_bytes() + b"\n")
    (results / f"{second.name}.sig").unlink()
    asked = [KEYGEN, "-Y", "sign", "-q", "-n", "git", "-f", str(mine), str(second)]
    subprocess.run(asked, check=True)
    capsys.readouterr()
    assert main(["verify", "--signers", "signers"]) == 1
    *told, last = capsys.readouterr().out.splitlines()
    assert [line.partition(" (")[0] for line in told] == [
        f"{each.name}: refused. Its signature does not hold" for each in (first, second)
    ]
    assert last.startswith("0 of 2 records hold")


@needs_keygen
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sign", "--key", "nowhere"], "There is no key nowhere"),
        (["sign", "--key", "none"], "cannot be signed"),
        (["sign", "elsewhere", "--key", "none"], "There is no record in elsewhere"),
        (["verify", "--signers", "nowhere"], "The signers in nowhere cannot be read"),
        (["verify", "--signers", "none"], "none names no signer"),
    ],
)
def test_what_cannot_be_signed_or_asked_is_one_sentence(results, tmp_path, capsys, words, said):
    (tmp_path / "none").write_text("# nobody\n")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_without_ssh_keygen_it_says_what_to_install(results, tmp_path, monkeypatch, capsys):
    (tmp_path / "key").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["sign", "--key", "key"]) == 2
    assert "install OpenSSH's client" in capsys.readouterr().err


def test_a_change_that_no_number_shows_is_seen_by_the_contents_hash(results, capsys):
    first, _ = sorted(results.glob("*.json"))
    document = json.loads(first.read_text())
    document["environment"]["greenbench"] = "9.9.9"
    first.write_text(json.dumps(document))
    assert main(["verify"]) == 1
    assert "its content is not that which its hash was made of" in capsys.readouterr().out
    assert main(["merge", "results", "-o", "all"]) == 1


def test_a_file_that_is_only_set_differently_is_the_same_record(results):
    for file in results.glob("*.json"):
        file.write_text(json.dumps(json.loads(file.read_text()), indent=4))
    assert main(["verify"]) == 0


def test_a_hash_that_is_made_up_is_found_out_when_numbers_are_drawn_anew(results, capsys):
    document = json.loads(canonical(sound.run("liar", 0.7)))
    document["ratios"]["energy_per_token"]["high"] = 0.71
    (results / "liar.json").write_text(json.dumps(sealed(document)))
    assert main(["verify"]) == 1
    assert "ratios.energy_per_token.high is 0.71" in capsys.readouterr().out
