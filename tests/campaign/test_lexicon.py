"""What an override may be completed to."""

import dataclasses
import subprocess
import sys

import pytest

from greenbench import engines, techniques
from greenbench.campaign.catalog import GROUPS, classes, experiments, options
from greenbench.campaign.compose import plain, plan
from greenbench.campaign.lexicon import completions, keys


def dotted(values, within=""):
    for name, value in values.items():
        if isinstance(value, dict) and value and f"{within}{name}" not in ("technique", "engine"):
            yield from dotted(value, f"{within}{name}.")
        else:
            yield f"{within}{name}"


def test_the_keys_are_those_of_a_run():
    (job,) = plan(["technique=none"], multirun=False)
    assert set(keys()) == set(dotted(plain(job.spec))) - {"technique", "engine"}


@pytest.mark.parametrize("key", [key for key, values in keys().items() if values])
def test_a_value_that_is_offered_is_one(key):
    for word in completions(f"{key}="):
        if key == "load.arrivals" or (key, word) == ("load.lengths", "load.lengths=trace"):
            continue  # what else they need is another matter
        needs = {"model.source": ["model.id=a/b", "model.path=here"]}.get(key, [])
        if key == "protocol.tier":
            needs = ["protocol=publish"]
        if key.startswith("launcher."):
            needs = ["launcher=slurm"] if key != "launcher.where" else []
        assert plan([*needs, word], multirun=False)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_has_its_options_with_their_words(group):
    assert completions(f"{group}=") == {f"{group}={n}": said for n, said in options(group).items()}


def test_all_begins_with_groups_and_what_is_begun_leads_to_its_keys():
    first = completions("")
    assert {f"{group}=" for group in GROUPS} | {"+experiments=", "seed=", "device="} <= set(first)
    assert not any("." in word for word in first)
    assert set(completions("workload.")) == {f"{k}=" for k in keys() if k.startswith("workload.")}
    assert completions("nothing") == {}


@pytest.mark.parametrize("name", classes("technique"))
def test_the_knobs_of_a_technique_are_its_fields(name):
    fields = {field.name for field in dataclasses.fields(techniques.load(name))}
    assert set(completions(f"technique.{name}.")) == {f"technique.{name}.{f}=" for f in fields}


def test_the_knobs_of_all_engines_are_offered():
    found = {f.name for each in engines.named() for f in dataclasses.fields(engines.load(each))}
    assert set(completions("engine.")) == {f"engine.{name}=" for name in found}


def test_a_list_and_a_sweep_go_on_with_what_is_not_in_them_yet():
    listed = completions("technique=[gptq,int8_")
    assert "technique=[gptq,int8_bnb" in listed
    assert all(word.startswith("technique=[gptq,int8_") for word in listed)
    assert "technique=gptq,gptq" not in completions("technique=gptq,gptq")
    assert set(completions("+experiments=")) == {f"+experiments={name}" for name in experiments()}


def test_groups_of_the_users_own_are_completed(tmp_path):
    for place in ("workload/mine.yaml", "server/big.yaml"):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text("# a few words: and more\nname: a\n")
    assert completions("workload=mi", [tmp_path]) == {"workload=mine": "a few words"}
    assert list(completions("+ser", [tmp_path])) == ["+server="]
    assert completions("+server=", [tmp_path]) == {"+server=big": "a few words"}


def test_no_technique_is_imported_for_it():
    code = (
        "import sys; from greenbench.campaign.lexicon import completions\n"
        "assert completions('technique=') and completions('w'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "hydra", "omegaconf", "pydantic", "numpy"} & set(
        done.stdout.split()
    )
