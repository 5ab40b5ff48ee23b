"""The public Python API: its examples run, its names are light, and it meters any code."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import campaign

import greenbench
from greenbench import api
from greenbench.errors import UserError
from greenbench.records.store import Store


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A directory with results, and we are in it."""
    monkeypatch.chdir(tmp_path)
    store = Store(Path("results"))
    for record in (campaign.run("none", 1.001, gained=0, lost=0), campaign.run("saver", 0.7)):
        store.write(record)
    return tmp_path


def test_every_example_runs(results):
    found = doctest.testmod(api, extraglobs={"greenbench": greenbench})
    assert found.attempted > 15
    assert not found.failed


def test_every_public_function_has_an_example():
    for name in set(api.__all__) - {
        "AnswerSetting",
        "Engine",
        "EngineOption",
        "MachineSetting",
        "Meter",
        "ModelEdit",
        "Records",
    }:
        assert ">>>" in getattr(api, name).__doc__, name


def test_the_package_gives_the_public_names():
    for name in greenbench.__all__:
        assert getattr(greenbench, name) is getattr(api, name)
    assert set(api.__all__) - set(greenbench.__all__) == {"Records", "report"}
    assert set(greenbench.__all__) <= set(dir(greenbench))
    with pytest.raises(AttributeError, match="nothing"):
        _ = greenbench.nothing


def test_what_is_no_record_is_said_with_the_reason(results):
    Path("results/records/broken.json").write_text("{")
    records = greenbench.load("results")
    assert len(records) == 2
    assert [rejected.name for rejected in records.rejected] == ["broken.json"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: greenbench.load("nowhere"), "nowhere does not exist"),
        (lambda: greenbench.advise([], {"speed": 1}), "limit=speed is unknown: .*token_ms"),
        (lambda: greenbench.advise([], {"token_ms": -1}), "above 0"),
        (lambda: greenbench.advise([], [1]), "limits is of type list: give limits by name"),
        (lambda: greenbench.advise([], {"token_ms": None}), "token_ms=None is not a number"),
        (lambda: greenbench.advise([], impact="pue=2"), "impact is of type str: give a list"),
        (
            lambda: greenbench.advise([], impact={"pue": 2}),
            "impact is of type dict: give a list of texts",
        ),
        (lambda: greenbench.advise([], impact=[2]), "impact is of type list: give a list of texts"),
        (lambda: greenbench.advise([], model=None), "model is of type NoneType"),
        (lambda: greenbench.advise("results"), "records is of type str: give a list of records"),
        (lambda: greenbench.groups(None), "records is of type NoneType"),
        (lambda: greenbench.groups(greenbench.load("results")[0]), "records is of type Record"),
        (lambda: greenbench.compare("results", "results"), "a is of type str"),
        (lambda: greenbench.compare([], 3), "b is of type int"),
        (greenbench.load, "load needs a path"),
        (lambda: greenbench.load(["results"]), "a path is of type list: give a text or a Path"),
        (lambda: greenbench.bench("technique=none"), "overrides is of type str: give a list"),
        (lambda: greenbench.bench(None), "overrides is of type NoneType"),
        (lambda: greenbench.bench([Path()]), "overrides is of type list: give a list of texts"),
        (lambda: greenbench.bench([], config_dir=3), "config_dir is of type int"),
        (lambda: api.report(3), "paths is of type int"),
        (lambda: api.report([3]), "a path is of type int"),
        (lambda: api.report("results", output=3), "output is of type int"),
        (lambda: api.report("results", margin="much"), "margin=much is no margin"),
        (lambda: api.report("results", margin=float("nan")), "margin=nan is no margin"),
        (lambda: api.report("results", impact=["pue=nan"]), "impact.pue=nan is out of range"),
        (lambda: api.report("results", grid_by_hour="no.csv"), "no.csv does not exist"),
        (lambda: api.report("results", grid_by_hour=3), "grid_by_hour is of type int"),
        (lambda: greenbench.metered(3), "meters is of type int"),
        (lambda: greenbench.metered([]), "meters is empty"),
        (lambda: greenbench.metered(["rapl", 3]), "meters is of type list"),
        (lambda: api.report("nowhere"), "nowhere is not a directory"),
        (lambda: api.report(["results", "results"]), "say where the report goes"),
        (lambda: greenbench.bench(["technique=nope"]), "technique=nope is unknown: allowed are"),
        (lambda: greenbench.bench(["model=local", "model.path=nowhere"]), "nowhere"),
        (lambda: greenbench.metered("sun").__enter__(), "meters=sun is unknown: .*rapl"),
    ],
)
def test_a_mistake_is_one_sentence(results, call, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        call()
    assert "\n" not in str(error.value)
    assert "--" not in str(error.value)


def test_a_window_is_metered_once(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    window = greenbench.metered("estimate")
    with window:
        pass
    with pytest.raises(UserError, match=r"has been used: call metered\(\) anew"), window:
        pass


GPU = "device GPU-11111111-2222-3333-4444-555555555555\npower 200\ntick 0.1\n"
SPIN = """
import sys, time, greenbench
with greenbench.metered({meters!r}) as window:
    assert window.energy.value is None and "not ended" in window.energy.reason
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
print(window.energy.provenance, window.energy.value, window.energy.low, window.energy.high)
print(window.energy.reason)
print(window.seconds, window.codes, window.validity, dict(window.boundaries))
print(*{{"torch", "transformers", "lm_eval", "hydra"}} & set(sys.modules))
"""


def test_a_window_over_any_code_has_joules_with_bounds_and_needs_no_torch():
    said = subprocess.run(
        [sys.executable, "-c", SPIN.format(meters="estimate")],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    provenance, value, low, high = said[0].split()
    assert provenance == "estimated:model"
    assert 0 < float(low) < float(value) < float(high)
    assert "bounds" in said[1]
    assert 0.5 <= float(said[2].split()[0]) < 5
    assert "'estimate': 'cpu_package'" in said[2]
    assert said[3] == ""


def test_a_gpu_is_metered_with_its_check_and_the_tick_it_steps_by(with_gpu):
    said = with_gpu(GPU, SPIN.format(meters="auto")).splitlines()
    assert said[0].startswith("measured:counter:nvml ")
    joules = float(said[0].split()[1])
    assert joules / float(said[2].split()[0]) == pytest.approx(200, rel=0.5)
    assert "short_window" in said[2]
    assert "'nvml': 'gpu'" in said[2]
    assert said[3] == ""


def test_code_that_raises_is_metered_and_no_meter_says_why(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ZeroDivisionError), greenbench.metered("nvml") as window:
        _ = 1 / 0
    assert window.seconds is not None
    assert window.energy.value is None
    assert window.energy.reason.startswith("no meter answered: nvml: ")
