"""The search for the version that a step came with, on planted steps; and once through real environments."""

import subprocess
import sys
import zipfile
from math import exp

import numpy as np
import pytest
from helpers import examples, sound
from helpers.wheels import wheel

from greenbench.analysis.choices.history import Changed, Found, Watched
from greenbench.campaign.search import version_search
from greenbench.campaign.search.version_search import (
    Asked,
    Fresh,
    asked,
    expected,
    search,
    spent,
    step_with,
)
from greenbench.cli.main import main
from greenbench.errors import UserError
from greenbench.records.store import Store, load
from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.schema.resolved import Inputs
from greenbench.stats.first_bad import Unusable
from greenbench.stats.intervals import Interval

ROW = [f"1.{minor}" for minor in range(10)]
BASE = examples.completed("int8", energy=0.7, half=0.01, stages_s={"total": 60.0})


def record(level=1.0, ratio=0.7, package="1.0", session=1, **changes):
    """A run whose candidate draws `level` joules per token."""
    joules = BASE.candidate.metrics["energy_per_token_j"].model_copy(update={"value": level})
    inputs = Inputs(
        model="m", text="t", tasks={}, plugins={}, machine={}, packages={"gbtiny": package}
    )
    update = {
        "candidate": BASE.candidate.model_copy(
            update={"metrics": {**BASE.candidate.metrics, "energy_per_token_j": joules}}
        ),
        "ratios": BASE.ratios
        | {"energy_per_token": BASE.ratios["energy_per_token"].model_copy(update={"value": ratio})},
        "spec": BASE.spec.model_copy(update={"inputs": inputs, "session": session}),
    }
    return BASE.model_copy(update=update | changes)


def step(what="ratio", size=1.05, began="2026-10-13T02:00:00+00:00", half=0.01, names=("gbtiny",)):
    changed = [Changed(name, ROW[0], ROW[-1]) for name in names]
    bounds = Interval(size, size * (1 - half), size * (1 + half), 12)
    night = record(started_at=began)
    return Found("int8", what, ENERGY_PER_TOKEN, bounds, began, 3, True, changed, night)


class Machine:
    """Runs whose candidate draws 5 % more from version `first` on, in sessions that differ and drift."""

    def __init__(self, first, dice, *, broken=(), disturbed=0, drift=0.0):
        self.first, self.dice, self.broken = first, dice, broken
        self.disturbed, self.drift, self.now = disturbed, drift, 0.0
        self.asked, self.kept = [], []

    def run(self, version, results, session):
        self.asked.append((version, results.name, session))
        if version in self.broken:
            raise Unusable("it does not install: none for this Python")
        self.now += self.dice.normal(0, self.drift)
        bad = ROW.index(version) >= self.first
        draws = self.dice.normal(0, 0.008, 2)
        run = record(
            exp(self.now + draws[0]) * (1.05 if bad else 1),
            0.7 * exp(draws[1]) * (1.05 if bad else 1),
            version,
        )
        if session <= self.disturbed:
            return run.model_copy(update={"validity": "invalid", "codes": ["foreign_process"]})
        return run

    def keep(self, *versions):
        self.kept.append(versions)


def searched(machine, tmp_path, what="ratio", row=ROW):
    return search(Asked("gbtiny", step(what), row, tmp_path), machine)


@pytest.mark.parametrize("first", [1, 4, 9])
def test_the_version_that_a_ratio_stepped_with_is_found(first, tmp_path):
    machine = Machine(first, np.random.default_rng(first))
    found = searched(machine, tmp_path)
    assert found.found.suspects == (first - 1, first)
    assert len(set(machine.asked)) == len(machine.asked) == len(found.records)
    assert {folder for _, folder, _ in machine.asked} <= {f"gbtiny-{version}" for version in ROW}
    assert [(each.name, each.before, each.after) for each in found.changed] == [
        ("gbtiny", ROW[first - 1], ROW[first])
    ]
    assert {*machine.kept[-2]} >= {ROW[0], ROW[-1]}
    assert machine.kept[-1] == ()


def test_a_level_is_held_against_a_run_of_the_first_version_beside_it(tmp_path):
    machine = Machine(6, np.random.default_rng(5))
    found = searched(machine, tmp_path, "candidate")
    assert found.found.suspects == (5, 6)
    first_two = machine.asked[:4]
    assert first_two == [
        (ROW[-1], "gbtiny-1.9", 1),
        (ROW[0], "beside", 1),
        (ROW[0], "beside", 2),
        (ROW[-1], "gbtiny-1.9", 2),
    ]
    assert 2 * sum(folder == "beside" for _, folder, _ in machine.asked) == len(machine.asked)


def test_a_machine_that_drifts_leads_few_searches_astray(tmp_path):
    """By 2 % from one run to the next, so that levels alone would tell nothing; 5 % may be wrong."""
    dice = np.random.default_rng(9)
    wrong = []
    for _ in range(60):
        first = int(dice.integers(1, len(ROW)))
        machine = Machine(first, dice, drift=0.02)
        suspects = searched(machine, tmp_path, "candidate").found.suspects
        wrong.append(suspects is not None and not suspects.good < first <= suspects.bad)
    assert np.mean(wrong) <= 0.05


def test_a_version_that_cannot_be_run_is_skipped_and_an_end_that_cannot_is_one_sentence(tmp_path):
    machine = Machine(5, np.random.default_rng(2), broken={ROW[4], ROW[5]})
    found = searched(machine, tmp_path).found
    assert found.suspects == (3, 6)
    assert found.skipped[5] == "it does not install: none for this Python"
    machine = Machine(5, np.random.default_rng(2), broken={ROW[0]})
    with pytest.raises(
        UserError, match=r"gbtiny 1\.0, one of the two ends, cannot be measured: it"
    ):
        searched(machine, tmp_path)
    assert machine.kept[-1] == ()


def test_another_packages_step_is_not_this_ones(tmp_path):
    machine = Machine(len(ROW), np.random.default_rng(3))
    found = searched(machine, tmp_path)
    assert found.found.suspects is None
    assert {version for version, *_ in machine.asked} == {ROW[0], ROW[-1]}


def test_disturbed_sessions_are_taken_again(tmp_path):
    found = searched(Machine(5, np.random.default_rng(4), disturbed=2), tmp_path)
    assert found.found.suspects == (4, 5)
    with pytest.raises(UserError, match="more than 4 of its sessions were disturbed"):
        searched(Machine(5, np.random.default_rng(4), disturbed=99), tmp_path)


def test_interrupted_it_keeps_its_environments(tmp_path):
    machine = Machine(5, np.random.default_rng(4))

    def interrupted(*_):
        raise KeyboardInterrupt

    machine.run = interrupted
    with pytest.raises(KeyboardInterrupt):
        searched(machine, tmp_path)
    assert () not in machine.kept


def test_of_the_packages_steps_the_newest_is_taken_by_the_number_that_shows_it_best():
    old = step(began="2026-10-01T02:00:00+00:00", half=0.001)
    steps = [old, step("baseline", half=0.02), step("ratio", half=0.005), step(names=["torch"])]
    watched = Watched(steps, [], 0, [])
    assert step_with(watched, "gbtiny") is steps[2]
    with pytest.raises(UserError, match=r"transformers changed its version with no step .*torch"):
        step_with(watched, "transformers")


def test_what_it_takes_is_said_before_and_after():
    ask = Asked("gbtiny", step("candidate"), ROW, None)
    assert expected(ask).startswith(
        "10 versions of gbtiny, of which about 6 are run, 36 to 144 runs"
    )
    assert spent([record(), record()]).startswith("2 runs took 2 min")


def numpys(**changes):
    """What was watched where a step came with numpy, of a run with these changes."""
    found = step(names=["numpy"])
    spec = found.night.spec.model_copy(update=changes)
    return Watched([found._replace(night=record(spec=spec))], [], 0, [])


def test_records_of_two_runs_lie_in_two_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(version_search, "versions", lambda *_: ROW)
    one, other = numpys(), numpys(seed=7)
    folders = [asked(each, "numpy", tmp_path).folder for each in (one, other, one)]
    assert folders[0] == folders[2] != folders[1]
    assert {folder.parent for folder in folders} == {tmp_path}


def test_of_changes_a_night_off_the_ends_are_those_around_the_step(tmp_path, monkeypatch):
    """From before the first of them to behind the last."""
    monkeypatch.setattr(version_search, "versions", lambda _, *ends: ends)
    two = [Changed("numpy", "1", "2", 1), Changed("numpy", "0", "1", -1)]
    for changed, ends in ((two, ("0", "2")), (two[:1], ("1", "2"))):
        found = step()._replace(changed=changed)
        assert asked(Watched([found], [], 0, []), "numpy", tmp_path).versions == ends
    there_and_back = [Changed("numpy", "1", "2", -1), Changed("numpy", "2", "1", 1)]
    with pytest.raises(UserError, match="numpy changed its version with no step"):
        step_with(Watched([step()._replace(changed=there_and_back)], [], 0, []), "numpy")


def test_a_record_of_another_version_is_refused_whenever_it_is_read(tmp_path):
    """Also of another build, and also where the search goes on from it."""
    Store(tmp_path / "kept").write(measured(0.7, "1.1+cpu"))
    night = measured(0.7, "1.0")
    fresh = Fresh(Asked("gbtiny", step()._replace(night=night), ROW, tmp_path), print)
    assert fresh.run("1.1+cpu", tmp_path / "kept", 1).ratios
    for version in ("1.0", "1.1", "1.1+gpu"):
        with pytest.raises(Unusable, match=r"its run used gbtiny 1\.1\+cpu"):
            fresh.run(version, tmp_path / "kept", 1)


def test_its_runs_end_with_it(tmp_path):
    """By SIGTERM to it, which ends a run so that a device is given back; what they write to then closes."""
    run = [sys.executable, "-c", "import sys, time; print('runs', file=sys.stderr); time.sleep(60)"]
    code = f"from greenbench.campaign.search.version_search import _status; _status({run!r})"
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True
    ) as search:
        assert search.stderr.readline() == "runs\n"
        search.terminate()
        assert search.communicate(timeout=30)[1] == ""


STANDS_IN = """
# In the place of greenbench: the record that was prepared for the installed version and the session.
import shutil, sys
from importlib import metadata
from pathlib import Path

words = dict(word.split("=", 1) for word in sys.argv[2:])
assert words["technique"] == "saver"
into = Path(words["results"].strip("'")) / "records"
into.mkdir(parents=True, exist_ok=True)
name = metadata.version("gbtiny") + "-" + words["session"] + ".json"
shutil.copy(Path(PREPARED) / name, into / name)
"""


def measured(ratio, version, **changes):
    """A run as `watch` takes it: its numbers follow from its windows."""
    packages = {"gbtiny": version}
    inputs = {"model": "m", "text": "t", "tasks": {}, "plugins": {}, "machine": {}}
    return sound.run("saver", ratio, inputs=inputs | {"packages": packages}, **changes)


@pytest.fixture
def nights(tmp_path, monkeypatch):
    """Nights with a step, wheels of the package that is to blame, and what its versions would measure."""
    dice = np.random.default_rng(6)
    prepared, shop, here = tmp_path / "prepared", tmp_path / "wheels", tmp_path / "here"
    for folder in (prepared, shop, here):
        folder.mkdir()
    row = ROW[:5]
    for version in row:
        made = wheel(shop, "gbtiny", version, {"gbtiny.py": ""})
        for session in range(1, 5):
            ratio = (0.742 if version >= row[3] else 0.7) * exp(dice.normal(0, 0.002))
            run = measured(ratio, version, session=session)
            path = Store(tmp_path / "once").write(run)
            path.rename(prepared / f"{version}-{session}.json")
    zipfile.ZipFile(made).extractall(here)
    files = {
        "greenbench/__init__.py": "",
        "greenbench/__main__.py": STANDS_IN.replace("PREPARED", repr(str(prepared))),
    }
    wheel(shop, "greenbench", "0.0", files)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setattr(version_search, "pins", lambda package: ["greenbench==0.0"])
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    for number in range(10):
        ratio = (0.7 if number < 8 else 0.742) * exp(dice.normal(0, 0.002))
        began = f"2026-10-{number + 1:02}T02:00:00+00:00"
        night = measured(ratio, row[0] if number < 8 else row[-1], started_at=began)
        Store(tmp_path / "nights" / str(number)).write(night)
    return sorted(map(str, (tmp_path / "nights").iterdir()))


@pytest.mark.slow
def test_the_command_runs_each_version_in_an_environment_of_its_own(nights, tmp_path, capsys):
    """With pip, environments and child processes as they are; only what they measure was prepared."""
    into = tmp_path / "into"
    words = ["watch", *nights, "--bisect", "gbtiny", "--into", str(into)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "The step came with gbtiny 1.3, after 1.2." in said.out
    assert "gbtiny 1.4: +" in said.out
    assert "5 versions of gbtiny, of which about 4 are run" in said.err
    assert "installing gbtiny 1.4 in an environment of its own" in said.err
    assert not list(into.glob("*/environments"))
    (first,) = into.glob("*/gbtiny-1.0")
    assert len(load([first]).records) == 3
    assert main(words) == 0
    again = capsys.readouterr()
    assert "installing" not in again.err
    assert "The step came with gbtiny 1.3, after 1.2." in again.out
    assert main([*words[:-1], str(tmp_path), "--bisect", "torch"]) == 2
    assert "torch changed its version with no step that was found" in capsys.readouterr().err
