"""A server that only reads, as an agent's own client sees it."""

import json
from collections import Counter

import pytest
from helpers import campaign, examples, sound
from helpers.agent import agent

from greenbench import api
from greenbench.agents import reading
from greenbench.analysis.choices import comparison
from greenbench.analysis.groups import rows
from greenbench.analysis.groups.rows import technique
from greenbench.analysis.trust.checked import look
from greenbench.campaign.catalog import options
from greenbench.errors import UserError
from greenbench.records.merge import merge
from greenbench.records.store import Store, load

READING = {"doctor", "techniques", "estimate", "results", "advise", "devices", "compare", "status"}
TINY = ["model=smollm2-135m", "task=smoke", "protocol=quick", "device=cpu"]


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Two results directories of a server, and one beside them that is not."""
    folder = tmp_path_factory.mktemp("agent")
    for record in [*campaign.group(), examples.failed("int4")]:
        Store(folder / "results").write(record)
    for record in (campaign.run("none", 1.001, gained=0, lost=0), campaign.run("saver", 0.9)):
        Store(folder / "later").write(record)
    Store(folder / "secret").write(campaign.run("saver", 0.5))
    (folder / "trace.csv").write_text("time_s,prompt_tokens,output_tokens\n0,1,1\n")
    (folder / "mine" / "model").mkdir(parents=True)
    (folder / "mine" / "model" / "ours.yaml").write_text(
        "# What we deploy.\nname: ours\nsource: local\npath: weights\n"
    )
    return folder


@pytest.fixture(scope="module")
def asking(there):
    """An agent that may only read; nothing is written by all that it asks."""
    before = _files(there)
    with agent("results", "later/", "--config-dir=mine", cwd=there) as one:
        yield one
    assert _files(there) == before


def _files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def _key(folder, name):
    (record,) = [record for record in load([folder]).records if record.name == name]
    return record.key


def test_nothing_can_be_started_unless_it_is_allowed(asking):
    tools = asking.tools()
    assert set(tools) == READING
    for tool in tools.values():
        assert tool.annotations.read_only_hint
        assert tool.description
        assert all("description" in each for each in tool.input_schema["properties"].values())
    answer = asking.ask("start", overrides=["technique=none"])
    assert answer.failed
    assert "start" in answer.text


def test_results_are_the_first_screen_and_a_row_for_each_run(asking, there):
    answer = asking.ask("results")
    assert json.loads(answer.text) == answer.content
    told = answer.content
    assert told["runs"] == {"completed": 6, "invalid": 1, "failed": 1}
    (group,) = told["groups"]
    assert group["device"] == "Imaginary GPU (cuda)"
    assert "`saver` uses the least energy" in group["answer"][0]
    assert group["chosen_by"] == "energy_per_token_ratio"
    best = group["choose"][-1]
    assert (best["name"], best["sure"], best["losing_at_most_points"][-1]) == (
        "saver",
        "shown",
        "any",
    )
    assert group["worse"] == ["coster"]
    assert {"same", "unsure"} <= set(group["no_effect_shown"])
    rows = {row["name"]: row for row in group["rows"]}
    assert set(rows) == {"none", "saver", "coster", "same", "unsure", "capped"}
    ratio = rows["saver"]["energy_per_token_ratio"]
    assert ratio["value"] == pytest.approx(0.7, rel=1e-3)
    assert ratio["low"] < ratio["value"] < ratio["high"]
    assert (ratio["n"], ratio["provenance"]) == (campaign.BLOCKS, "measured:counter:nvml")
    assert rows["saver"]["verdicts"]["energy_per_token"] == "saves"
    assert rows["capped"]["flags"] == ["power_capped"]
    (lost,) = told["without_result"]
    assert (lost["name"], lost["status"]) == ("int4", "failed")
    assert len(answer.text) < 12_000


def test_one_run_is_its_record_without_raw_readings_unless_asked_for(asking, there):
    key = _key(there / "results", "saver")
    record = look(there / "results" / "records" / f"{key}.json")
    assert asking.told("results", run=key, raw=True) == record.model_dump(mode="json")
    answer = asking.ask("results", run=key[:10])
    told = answer.content
    assert len(answer.text) < 25_000  # indented
    assert told["left_out"]["windows"] == len(record.windows)
    assert told["left_out"]["items"]["sciq"] == 100
    assert "windows" not in told
    assert "items" not in told["quality"][0]
    assert told["ratios"] == record.model_dump(mode="json")["ratios"]


ANSWERS = {
    "results": reading.overview,
    "advise": lambda folder: reading.advice(folder, {}, [], "", ""),
    "devices": lambda folder: reading.devices(folder, {"rate": 1}, [], "", ""),
    "compare": lambda folder: reading.changes(api.load(folder), api.load(folder), []),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_record_that_no_answer_can_be_drawn_from_is_named_and_left_out(
    there, monkeypatch, answer
):
    def fails(record):
        if record.name == "coster":  # as one may that no check has foreseen
            raise ZeroDivisionError("division by zero")
        return technique(record)

    for module in (rows, comparison):
        monkeypatch.setattr(module, "technique", fails)
    told = ANSWERS[answer](there / "results")
    assert told["files_not_used"] == (2 if answer == "compare" else 1)
    odd = told["first_not_used"][0]
    assert odd["file"] == f"{_key(there / 'results', 'coster')}.json"
    assert odd["why"] == "It cannot be analysed (ZeroDivisionError: division by zero)."
    assert answer == "devices" or "saver" in json.dumps(told)


def test_a_file_that_is_no_record_is_named_by_each_answer(there, tmp_path):
    Store(tmp_path).write(campaign.run("saver", 0.7))
    (tmp_path / "records" / "broken.json").write_text("{")
    for answer in ("results", "advise", "devices"):
        told = ANSWERS[answer](tmp_path)
        assert [each["file"] for each in told["first_not_used"]] == ["broken.json"]


def test_two_runs_of_one_key_are_each_read_by_the_name_that_is_shown(tmp_path):
    record = sound.run("saver", 0.9)
    later = record.model_copy(update={"started_at": "2031-01-01T00:00:00+00:00"})
    for folder, each in {"a": record, "b": later}.items():
        Store(tmp_path / folder).write(each)
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "all", look)
    (group,) = reading.overview(tmp_path / "all")["groups"]
    (row,) = group["rows"]  # two sessions of one run
    keys = row["sessions"]
    assert row["key"] in keys
    read = [reading.records(tmp_path / "all", key)[0] for key in keys]
    assert {each.started_at for each in read} == {record.started_at, later.started_at}
    with pytest.raises(UserError, match=f"2 records have a key .*, whole: .*{keys[0]}"):
        reading.records(tmp_path / "all", record.key)


def test_advice_names_the_run_that_keeps_the_limits(asking, there):
    told = asking.told("advise", quality_loss_points=5, requests_per_day=1000, country="FRA")
    (group,) = told["groups"]
    assert (group["answer"], group["recommended"]["name"]) == ("recommended", "saver")
    assert told["assumed"]["country"] == "FRA"
    saved = group["recommended"]["saves"]["energy_kwh"]
    assert saved["low"] < saved["value"] < saved["high"]
    assert "coster" in {option["name"] for option in group["left_out"]}
    strict = asking.told("advise", token_ms=1e-3)
    assert strict["groups"][0]["recommended"] is None


def test_two_directories_and_two_runs_are_compared(asking, there):
    told = asking.told("compare", a="results", b="later", fail_on=["energy>+3%"])
    saver = {run["name"]: run for run in told["runs"]}["saver"]
    assert saver["energy_ratio"]["value"] == pytest.approx(0.9 / 0.7, rel=1e-3)
    assert saver["energy_ratio"]["verdict"] == "costs"
    assert told["broken"][0].startswith("saver: energy>+3% is broken")
    runs = {name: _key(there / "results", name) for name in ("none", "saver")}
    told = asking.told("compare", run_a=runs["none"], run_b=runs["saver"])
    (pair,) = told["runs"]
    assert (pair["name"], pair["energy_ratio"]["verdict"]) == ("none -> saver", "saves")
    assert pair["quality_points"]["value"] == 0


def test_options_are_listed_with_a_few_words(asking):
    told = asking.told("techniques")
    assert told["technique"]["gptq"].startswith("weights rounded")
    assert told["model"]["ours"] == "What we deploy"
    assert told["+experiments"]["smoke"].startswith("Two techniques")


def test_the_doctor_says_what_works_and_why_the_rest_does_not(asking):
    told = asking.told("doctor")
    assert "estimate" in told["meters"]["ok"]
    assert "transformers" in told["engines"]["ok"]
    works, rest = told["techniques"]["ok"], told["techniques"]["not"]
    assert sorted([*works, *rest]) == sorted(options("technique"))
    assert "int8_bnb" in works
    assert rest["power_limit"].endswith(".")


@pytest.mark.slow  # it looks at everything, whatever it tells of it
def test_the_doctor_says_all_about_one_subject(asking):
    told = asking.told("doctor", subject="hardware")
    assert told["hardware"]["cpu"].startswith("ok: ")
    assert "meters" not in told


def test_an_estimate_is_what_the_protocol_asks_at_least(asking):
    """Quick: 1 s of idle, 2 s of warm-up and 5 windows of 2 s for each of the two models."""
    told = asking.told(
        "estimate", overrides=[*TINY, "technique=none,power_limit"], multirun=True, results="later"
    )
    none, refused = told["runs"]
    assert (none["name"], none["seconds"], none["energy_j"]) == ("none", 25.0, None)
    assert "power_limit" in refused["name"]
    assert refused["refused"].endswith(".")
    assert told["runs_to_measure"] == 1
    assert told["in_all"].startswith("1 runs to measure, 1 refused here: at least 25 s")


def test_nothing_was_started_here(asking):
    assert asking.told("status") == {"started": []}


REFUSED = [
    "results=elsewhere", "model.path=/etc", "+model.path=weights", "task.include_path=mine",
    "task.names=[sst2,/etc/passwd]", "task.names=[mine/own.yaml]", "load.trace=trace.csv",
    "load={arrivals: trace, trace: trace.csv}", "meter.wall_log=trace.csv",
    "model.trust_remote_code=true", "task.allow_code_execution=true", "model.id=../secret",
    "model.id='~/secret'", "model.id=later/records", "engine.url=http://127.0.0.1:1",
    "engine.key_variable=HF_TOKEN", "technique.checkpoint.path=weights", "model.id=a/b,/etc",
    "workload.name=${oc.env:HOME}", "model.note='${oc.env:HOME}'",
]  # fmt: skip


@pytest.mark.parametrize("override", REFUSED)
def test_an_agent_reaches_for_no_file_no_server_and_no_code(asking, override):
    answer = asking.ask("estimate", overrides=["technique=none", override], multirun=True)
    assert answer.failed
    assert answer.text.startswith(f"{override} is not for an agent to say")
    assert "\n" not in answer.text


WRONG = {
    "another directory": ("results", {"results": "secret"}, "results=secret is not a directory of"),
    "its way up": ("results", {"results": "results/../secret"}, "is not a directory of this server"),
    "an absolute path": ("compare", {"a": "results", "b": "/etc"}, "results=/etc is not a directory"),
    "no such key": ("results", {"run": "zz"}, "No records have a key that begins with 'zz'"),
    "an empty key": ("results", {"run": ""}, "No records have a key that begins with ''"),
    "a limit of 0": ("advise", {"token_ms": 0}, "The limit token_ms=0.0 is out of range"),
    "no rate": ("devices", {}, "rate_per_s is not allowed: Field required"),
    "a rate of 0": ("devices", {"rate_per_s": 0}, "rate=0.0 is out of range"),
    "no country": ("advise", {"country": "XX"}, "XX"),
    "no such model": ("advise", {"model": "nope"}, "No run is of that model and device"),
    "no limit": ("compare", {"fail_on": ["fast"]}, "--fail-on fast is no limit"),
    "no subject": ("doctor", {"subject": "weather"}, "subject=weather is unknown"),
    "no technique": ("estimate", {"overrides": ["technique=nope"]}, "technique=nope is unknown"),
    "a typing slip": (
        "estimate", {"overrides": ["technique=int8_bmb"]}, "(did you mean int8_bnb",
    ),
    "an option": ("estimate", {"overrides": ["--config-dir=mine"]}, "--config-dir=mine cannot be"),
    "a sweep": ("estimate", {"overrides": ["seed=1,2"]}, "seed=1,2 asks for several runs"),
    "no such run": ("status", {"run": "beef"}, "run=beef is unknown"),
    "a wrong type": ("estimate", {"overrides": 3}, "overrides is not allowed: Input should be"),
    "nothing": ("estimate", {}, "overrides is not allowed: Field required"),
    "no such tool": ("format_disk", {}, "format_disk"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_one_sentence_that_is_marked_as_an_error(asking, mistake):
    tool, arguments, sentence = WRONG[mistake]
    answer = asking.ask(tool, **arguments)
    assert answer.failed
    assert sentence in answer.text
    assert "\n" not in answer.text
    assert "Traceback" not in answer.text
    assert not answer.text.startswith("Error executing")


def test_where_there_is_nothing_yet_it_says_what_to_do(tmp_path):
    with agent(cwd=tmp_path) as one:
        assert one.ask("results").text == (
            "results is not there yet: measure something into it first."
        )
        told = one.told("advise")
        assert told["groups"] == []
        assert told["to_settle"][0]["command"].startswith("greenbench bench --multirun")
        told = one.told("devices", rate_per_s=40, ttft_ms=500)
        assert told["groups"] == []
        assert told["asked"]["rate"] == 40
        assert "workload=online" in told["to_measure"][0]
    assert Counter(tmp_path.iterdir()) == Counter()
