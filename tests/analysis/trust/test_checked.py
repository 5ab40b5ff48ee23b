"""A record is held against itself: what it says that its own windows do not say is never shown."""

import json
import os
from pathlib import Path

import pytest
from helpers import examples, simulated, sound

from greenbench import api
from greenbench.analysis.conclusions import code
from greenbench.analysis.groups import selection
from greenbench.analysis.groups.selection import gather
from greenbench.analysis.trust import checked
from greenbench.cli.main import main
from greenbench.models.keys import key_of, run_key
from greenbench.records.store import Store, canonical, sealed
from greenbench.records.upgrades import NOTE

KINDS = sound.of_every_kind()
LIES = {
    "closed": {
        "ratios.energy_per_token.value=0.05": "its ratios.energy_per_token.high is 0.05, and",
        "ratios.energy_per_token.high=0.71": "ratios.energy_per_token.high",
        "ratios.energy_per_token.n=100": "ratios.energy_per_token.n",
        'ratios.energy_per_token.provenance="measured:counter:rapl"': "energy_per_token.provenance",
        'verdicts.energy_per_token.verdict="costs"': "its own windows say saves",
        "verdicts.energy_per_token.p_difference=0.9": "verdicts.energy_per_token.p_difference",
        "verdicts.energy_per_token=null": "verdicts.energy_per_token is None",
        'verdicts.model_bytes.reason="it saves the world"': "verdicts.model_bytes.reason",
        "candidate.metrics.energy_per_token_j.value=0.3": "candidate.metrics.energy_per_token_j",
        "baseline.metrics.tokens_per_s.value=1": "baseline.metrics.tokens_per_s",
        "uncertainty.ratio\\.energy_per_token.tick=0": "uncertainty.ratio.energy_per_token.tick",
        "idle.both.value=1": "idle.both.",
        "quality.0.change.value=0.5": "quality.0.change.",
        "quality.0.candidate.low=0": "quality.0.candidate.low",
        'windows.3.codes=["throttled"]': "its own windows say",
        'windows.3.validity="invalid"': "windows.3",
        'key="0123456789abcdef"': "its key is 0123456789abcdef, and its own spec makes it",
        "spec.seed=7": "its own spec makes it",
    },
    "flagged": {"codes=[]": "validity"},
    "graded": {
        "solved.0.ratio.energy_per_solved.value=0.1": "solved.0.ratio.energy_per_solved.",
        "solved.0.candidate.share_solved.value=1": "solved.0.candidate.share_solved.",
        "verdicts.energy_per_solved.n=1": "verdicts.energy_per_solved.n",
    },
    "load": {
        "load.points.0.ratios.energy_per_request.value=0.1": "load.points.0.ratios",
        "load.capacity.candidate.load.value=99": "load.capacity.candidate.load.",
    },
    "difficulty": {
        "difficulty.bins.0.ratios.energy_per_answer.value=0.1": "difficulty.bins.0.ratios",
        "difficulty.rounds=99": "difficulty.rounds",
    },
}
"""By kind of record, what is changed in it, and what is said of that."""
EACH = [(kind, lie, said) for kind, lies in LIES.items() for lie, said in lies.items()]


def changed(record, lie):
    """The record's document with one value changed; a dot within a name is escaped."""
    document = json.loads(canonical(record))
    place, _, value = lie.partition("=")
    names = [name.replace("\0", ".") for name in place.replace("\\.", "\0").split(".")]
    *path, last = [int(name) if name.isdigit() else name for name in names]
    part = document
    for name in path:
        part = part[name]
    if json.loads(value) is None:
        del part[last]
    else:
        part[last] = json.loads(value)
    if last == "value" and part["low"] is not None:
        part["low"] = part["high"] = part["value"]
    return document


def put(results, document, name="lie.json"):
    """Its hash is made up too: nobody needs more than this program for that."""
    (results / "records" / name).write_text(json.dumps(sealed(document)))


def listed(results):
    """What the leaderboard says of files that are no records."""
    text = (results / "leaderboard.md").read_text()
    return text.partition("## Files that are not records")[2].partition("\n## ")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_run_of_today_leaves_holds(tmp_path, kind):
    record = KINDS[kind]
    assert record.conclusions == code()
    path = Store(tmp_path).write(record)
    for _ in range(2):  # the second time from the cache
        assert checked.look(path) == record
    assert checked.shortened(path).kind == (
        "invalid" if record.validity == "invalid" else "completed"
    )


def test_what_the_run_itself_concludes_holds(tmp_path, fake_nvml, monkeypatch):
    """Metered and concluded by the very code of a run, on the fake driver."""
    for load in simulated.CAMPAIGN[:6]:
        record = simulated.Simulation(fake_nvml, monkeypatch, load).run()
        done = [window for window in record.windows if window.phase == "prepare"]
        applied = [
            part.model_copy(update={"prepare_s": window.end_s - window.start_s})
            for part, window in zip(record.techniques, done, strict=True)
        ]
        record = record.model_copy(update={"key": run_key(record.spec), "techniques": applied})
        assert record.conclusions == code()
        path = tmp_path / f"{load.name}.json"
        path.write_bytes(canonical(record))
        assert checked.look(path).model_dump(exclude={"command"}) == record.model_dump(
            exclude={"command"}
        )


@pytest.mark.parametrize(("kind", "lie", "said"), EACH)
def test_a_record_that_says_another_thing_is_refused(results, kind, lie, said):
    put(results, changed(KINDS[kind], lie))
    for _ in range(2):  # read anew, and from the cache
        assert main(["report", str(results)]) == 0
        assert "`lie.json`: It is altered: " in listed(results)
    (rejected,) = api.load(results).rejected
    assert said in rejected.reason
    assert [record.name for record in api.load(results)] == ["other"]


@pytest.mark.parametrize("version", [None, "0123456789abcdef"])
@pytest.mark.parametrize(
    ("kind", "lie", "said"), [each for each in EACH if each[1].startswith(("key", "spec"))]
)
def test_a_key_is_its_specs_whichever_code_wrote_it(results, kind, lie, said, version):
    put(results, changed(KINDS[kind], lie) | {"conclusions": version})
    (rejected,) = api.load(results).rejected
    assert said in rejected.reason


@pytest.mark.parametrize("version", [None, code()])
def test_windows_shorter_than_the_tier_promises_are_refused(results, version):
    """Its key is made to fit: nobody needs more than this program for that."""
    document = json.loads(canonical(KINDS["closed"]))
    for window in document["windows"]:
        window["end_s"] = window["start_s"] + 0.2 * (window["end_s"] - window["start_s"])
    put(results, document | {"key": key_of(document["spec"]), "conclusions": version})
    (rejected,) = api.load(results).rejected
    assert "its tier is dev, whose windows last 10 s or more, and its own last" in rejected.reason


@pytest.mark.parametrize("version", [None, "0123456789abcdef"])
@pytest.mark.parametrize(
    ("kind", "lie", "said"),
    [each for each in EACH if not each[1].startswith(("key", "spec")) and each[0] != "flagged"],
)
def test_of_other_code_the_lie_is_set_aside_and_nothing_is_refused(
    results, kind, lie, said, version
):
    record = KINDS[kind]
    put(results, changed(record, lie) | {"conclusions": version})
    for _ in range(2):
        found = api.load(results)
        assert found.rejected == []
        (told,) = [each for each in found if each.name == record.name]
        assert told.environment[NOTE] == [checked.ANEW]
        spoken = {"environment", "conclusions", "windows"}
        if not lie.startswith("windows"):  # codes stay: they can but make it worse
            assert told.model_dump(exclude=spoken) == record.model_dump(exclude=spoken)
    assert main(["report", str(results)]) == 0
    text = (results / "leaderboard.md").read_text()
    assert "drawn anew from its own windows and items" in text


def test_the_first_line_of_the_page_is_what_the_windows_say(results):
    """As it was seen: ratio, provenance and verdict of a run that saves less were changed."""
    honest = sound.run("honest", 0.81)
    document = json.loads(canonical(honest))
    document["ratios"]["energy_per_token"] |= {"value": 0.05, "low": 0.04, "high": 0.06}
    document["ratios"]["energy_per_token"]["provenance"] = "measured:counter:rapl"
    document["verdicts"]["energy_per_token"] |= {"ratio": 0.05, "low": 0.04, "high": 0.06}
    put(results, document)
    assert main(["report", str(results)]) == 0
    text = (results / "leaderboard.md").read_text()
    assert "0.05" not in text.partition("\n## ")[0]
    assert "`lie.json`: It is altered" in listed(results)
    put(results, document | {"conclusions": None})
    assert main(["report", str(results)]) == 0
    text = (results / "leaderboard.md").read_text()
    assert "0.81" in text.partition("\n## ")[0]
    assert "`lie.json`" not in text


def test_codes_of_a_records_own_can_but_make_it_worse(results):
    put(results, changed(KINDS["closed"], 'codes=["throttled"]'))
    (rejected,) = api.load(results).rejected
    assert "its validity is valid, and its own windows say invalid" in rejected.reason


def test_what_came_of_it_is_kept_under_the_content(results, cache):
    path = results / "records" / "lie.json"
    put(results, changed(KINDS["closed"], "ratios.energy_per_token.value=0.05"))
    assert checked.look(path).reason.startswith("It is altered")
    (kept,) = (cache / "checked").rglob("*.json")
    told = json.loads(kept.read_bytes())
    kept.write_text(json.dumps(told | {"refused": "kept words"}))
    assert checked.look(path).reason == "kept words"
    assert checked.shortened(path).reason == "kept words"
    path.write_text(path.read_text() + "\n")  # other bytes
    assert checked.look(path).reason.startswith("It is altered")
    kept.write_text("{")  # damaged: looked at again
    assert checked.look(path).reason.startswith("It is altered")


def test_what_other_code_has_kept_goes_when_nobody_has_used_it_for_long(results, cache):
    old, recent = cache / "checked" / "old", cache / "checked" / "recent"
    for each in (old, recent):
        (each / "ab").mkdir(parents=True)
    os.utime(old, (0, 0))
    gather([results])
    assert {each.name for each in (cache / "checked").iterdir()} == {"recent", code()}


def test_without_a_place_for_a_cache_it_is_looked_at_each_time(results, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "file"))
    put(results, changed(KINDS["closed"], "ratios.energy_per_token.value=0.05"))
    for _ in range(2):
        assert len(api.load(results).rejected) == 1


def test_so_it_is_in_a_crowd(results, monkeypatch):
    monkeypatch.setattr(selection, "FULL", 2)
    for number, ratio in enumerate((0.6, 0.7, 0.8)):
        put(results, json.loads(canonical(sound.run(f"run-{number}", ratio))), f"{number}.json")
    put(results, changed(sound.run("liar", 0.95), "ratios.energy_per_token.value=0.05"))
    early = changed(sound.run("early", 0.85), "ratios.energy_per_token.value=0.06")
    put(results, early | {"conclusions": None}, "early.json")
    for _ in range(2):
        found = gather([results])
        assert [name for name, _ in found.rejected] == ["lie.json"]
        assert found.crowd.counts == {"completed": 5}
        ratios = {r.name: r.ratios["energy_per_token"].value for r in found.records}
        assert ratios["early"] == pytest.approx(0.85, rel=1e-3)
        assert "liar" not in ratios


def test_runs_without_a_result_are_as_they_are(tmp_path):
    failed = examples.failed("x")
    path = Store(tmp_path).write(failed)
    assert checked.look(path) == checked.look(path) == failed
    assert checked.shortened(path).kind == "failed"


def test_the_hash_of_the_code_changes_with_it(tmp_path):
    """In a copy of the package, as an edit is made there."""
    import shutil
    import subprocess
    import sys

    import greenbench

    shutil.copytree(Path(greenbench.__file__).parent, tmp_path / "greenbench")
    ask = [sys.executable, "-c", "from greenbench.analysis.conclusions import code; print(code())"]

    def told():
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            ask, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert told() == code()
    with (tmp_path / "greenbench" / "stats" / "intervals.py").open("a") as file:
        file.write("# another\n")
    assert told() != code()


@pytest.mark.parametrize("version", [None, "0123456789abcdef", code()])
def test_a_score_without_items_says_nothing(results, version):
    """As it was seen: its stated change of +90 points was kept."""
    document = json.loads(canonical(KINDS["closed"]))
    score = document["quality"][0]
    score |= {"items": [], "change": score["change"] | {"value": 0.9, "low": 0.8, "high": 1.0}}
    put(results, document | {"conclusions": version})
    if version == code():
        (rejected,) = api.load(results).rejected
        assert "quality.0." in rejected.reason
        return
    (found,) = [each for each in api.load(results) if each.name == KINDS["closed"].name]
    levels = (found.quality[0].baseline, found.quality[0].candidate, found.quality[0].change)
    assert [(each.value, each.unit) for each in levels] == [(None, "fraction")] * 3
    assert all("no item" in each.reason for each in levels)
    assert found.environment[NOTE] == [checked.ANEW]
    assert main(["report", str(results)]) == 0
