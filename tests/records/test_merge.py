"""Records of several directories in one."""

import json
from pathlib import Path

import pytest
from helpers import sound

from greenbench import api
from greenbench.analysis.trust.checked import look, whole
from greenbench.cli.main import main
from greenbench.records import store
from greenbench.records.merge import merge
from greenbench.records.named import named
from greenbench.records.store import Store, canonical, told_apart


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def two(here):
    """Two sound records of one place."""
    one, other = sound.run("one", 0.9), sound.run("other", 0.8)
    for record in (one, other):
        Store(here / "a").write(record)
    return one, other


def later(record):
    """The same run, in another session."""
    return record.model_copy(update={"started_at": "2031-01-01T00:00:00+00:00"})


def test_copies_are_taken_once_two_sessions_both_and_what_is_altered_not(here, capsys):
    one, other, liar = sound.run("one", 0.9), sound.run("other", 0.8), sound.run("liar", 0.7)
    for folder, records in {"a": [one, other], "b": [one, later(other)], "c": [liar]}.items():
        for record in records:
            Store(here / folder).write(record)
    altered = json.loads(canonical(liar))
    altered["ratios"]["energy_per_token"]["high"] = 0.71
    Store(here / "c").record_path(liar.key).write_text(json.dumps(altered))
    assert main(["merge", "a", "b", "c", "-o", "all"]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{liar.key}.json: left out. It is altered")
    assert last.startswith("3 records were added to all, 1 of them beside another of their key; "
                           "1 were there already, 1 left out")  # fmt: skip
    found = api.load(here / "all")
    assert sorted(record.name for record in found) == ["one", "other", "other"]
    assert found.rejected == []
    assert Store(here / "all").read(other.key) == other  # what a sweep goes on from
    assert main(["merge", "a", "b", "-o", "all"]) == 0
    assert capsys.readouterr().out.startswith("0 records were added to all; 4 were there already")
    assert main(["report", "all"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["merge", "nowhere", "-o", "all"], "There is no record in nowhere"),
        (["merge", "a"], "-o/--output"),
        (["merge", "a", "-o", "file"], "file is not a directory"),
    ],
)
def test_what_cannot_be_is_one_sentence(here, capsys, words, said):
    Store(here / "a").write(sound.run("one", 0.9))
    (here / "file").touch()
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_place_that_takes_nothing_is_one_sentence(here, capsys):
    Store(here / "a").write(sound.run("one", 0.9))
    (here / "shut").mkdir()
    (here / "shut" / "records").touch()
    assert main(["merge", "a", "-o", "shut"]) == 2
    error = capsys.readouterr().err
    assert "cannot be written (it is, or lies in, a file and no directory)" in error
    assert "choose another with -o DIR" in error


def test_what_is_merged_is_called_as_reports_call_it(here):
    """A key does not say which of two is meant, and a file's bytes may be set otherwise than we set them."""
    record = sound.run("one", 0.9)
    Store(here / "a").write(record)
    loose = here / "b" / "loose.json"
    loose.parent.mkdir()
    loose.write_text(json.dumps(json.loads(canonical(later(record)))))
    assert main(["merge", "a", "b", "-o", "all"]) == 0
    found = api.load("all")
    (name,) = (told_apart(found)[id(each)] for each in found if each.started_at.startswith("2031"))
    assert {path.stem for path in (here / "all/records").iterdir()} == {record.key, name}
    assert main(["merge", "a", "b", "-o", "all"]) == 0
    assert len(api.load("all")) == 2


@pytest.mark.parametrize("called", ["merged", "renamed"])
def test_each_of_one_key_is_found_by_the_name_that_is_shown(here, called, capsys):
    record = sound.run("one", 0.9)
    for folder, each in {"a": record, "b": later(record)}.items():
        Store(here / folder).write(each)
    assert main(["merge", "a", "b", "-o", "all"]) == 0
    if called == "renamed":
        (here / "all/records" / f"{record.key}.json").rename(here / "all/records/mine.json")
    known = api.load("all")
    for each, name in zip(known, told_apart(known).values(), strict=True):
        assert {n: one.record for n, one in named(here / "all", name, look).items()} == {name: each}
        capsys.readouterr()
        assert main(["export", f"all/records/{name}.json"]) == 0
        assert each.started_at in capsys.readouterr().out
    if called == "merged":
        assert set(named(here / "all", record.key, look)) == set(told_apart(known).values())
    assert named(here / "all", "beef", look) == {}


EARLY = Path(__file__).parent / "old_records" / "b5195f5.json"


def with_key(key, version):
    """A record's document under another key, as of that version of the schema."""
    data = EARLY.read_bytes() if version == 1 else canonical(sound.run("liar", 0.7))
    return json.loads(data) | {"key": key}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "key", ["/tmp/x", "../../x", "..", "", "*", "[", "0123456789abcde", "0123456789ABCDEF", "x" * 300,
            "0123456789abcdef\n", "a\x00b"],
)  # fmt: skip
def test_a_key_that_leads_elsewhere_is_that_records_fault_alone(here, key, version, capsys):
    sound_one = sound.run("one", 0.9)
    Store(here / "a").write(sound_one)
    (here / "a" / "records" / "lie.json").write_text(json.dumps(with_key(key, version)))
    assert main(["merge", "a", "-o", "all/deep/er"]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("lie.json: left out. It breaks the record's schema at 'key'")
    assert last.startswith("1 records were added to all/deep/er")
    assert [file.stem for file in (here / "all").rglob("*.json")] == [sound_one.key]
    for words in (["verify", "a"], ["report", "a"]):
        assert main(words) in (0, 1)
        assert "Traceback" not in capsys.readouterr().err


def test_what_fails_of_one_record_is_that_records_fault_alone(here, monkeypatch, capsys):
    """Whatever nobody has foreseen."""
    _, other = two(here)
    place = Store.record_path

    def stumbles(store, key):
        if key == other.key and store.root.name == "all":
            raise NotImplementedError("Non-relative patterns are unsupported")
        return place(store, key)

    monkeypatch.setattr(Store, "record_path", stumbles)
    assert main(["merge", "a", "-o", "all"]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first == (
        f"{other.key}.json: left out. It cannot be merged (NotImplementedError: Non-relative patterns are "
        "unsupported)."
    )
    assert last.startswith("1 records were added to all")


def test_what_cannot_even_be_read_is_that_records_fault_alone(here, monkeypatch, capsys):
    _, other = two(here)
    held = store.rebuilt

    def stumbles(command, spec):
        if "other" in command:
            raise KeyError("nobody has foreseen it")
        return held(command, spec)

    monkeypatch.setattr(store, "rebuilt", stumbles)
    assert main(["merge", "a", "-o", "all"]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{other.key}.json: left out. It cannot be merged (KeyError: ")
    assert last.startswith("1 records were added to all")


def test_a_file_that_goes_away_or_is_changed_meanwhile_is_that_records_fault_alone(here):
    """Between the look at all of them and the copying."""
    one, other = two(here)
    third = sound.run("third", 0.6)
    Store(here / "a").write(third)

    def each(function, files):
        found = list(map(function, files))
        if Store(here / "a").record_path(one.key) in files:
            Store(here / "a").record_path(one.key).unlink()
            Store(here / "a").record_path(other.key).write_bytes(canonical(third))
        return found

    found = merge([here / "a"], here / "all", whole, each)
    assert (found.taken, found.copies, found.beside) == (1, 0, 0)
    told = {each.name: each.reason for each in found.refused}
    assert "It cannot be merged (FileNotFoundError" in told[f"{one.key}.json"]
    assert told[f"{other.key}.json"] == "It was changed while it was merged: merge again."
    assert [record.name for record in api.load(here / "all")] == ["third"]


def test_what_a_run_has_left_meanwhile_stays(here):
    one = sound.run("one", 0.9)
    Store(here / "a").write(one)

    def each(function, files):
        if not files:  # none is called like another: all have been looked at
            Store(here / "all").write(later(one))
        return map(function, files)

    found = merge([here / "a"], here / "all", whole, each)
    assert [each.reason for each in found.refused] == [
        f"A run has left its own {one.key}.json meanwhile: merge again."
    ]
    assert api.load(here / "all") == [later(one)]
