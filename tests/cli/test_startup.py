"""What the commands cost before they work: told by the modules that they import, not by seconds."""

import os
import subprocess
import sys

import pytest
from helpers import campaign

from greenbench.records.store import Store

HEAVY = {"torch", "transformers", "lm_eval", "scipy", "numpy", "datasets"}
MAIN = """
import sys
from greenbench.cli.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as exit:
    status = exit.code
print("MODULES", status, *sys.modules)
"""


def beside(path):
    """The environment of a process that finds `path` and what we find."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(path), *sys.path]))}


def loaded(*arguments, cwd=None, path=""):
    """Exit status, output, and the modules that were imported for it."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        capture_output=True, text=True, check=True, cwd=cwd, env=beside(path),
    )  # fmt: skip
    said, _, modules = done.stdout.partition("MODULES ")
    status, *names = modules.split()
    return status, said + done.stderr, set(names)


def test_the_package_alone_is_next_to_nothing():
    code = "import sys; import greenbench; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in done.stdout.split() if name.startswith("greenbench")}
    assert ours == {"greenbench"}


@pytest.mark.parametrize("arguments", [["--help"], ["bench", "--help"], ["--version"]])
def test_help_is_light(arguments):
    status, said, modules = loaded(*arguments)
    assert status == "0"
    assert said
    assert not modules & (HEAVY | {"hydra", "pydantic"})


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("technique=nope", "technique=nope is unknown: allowed are "),
        ("technique=[int8_bnb,nope]", "technique=nope is unknown: allowed are "),
        ("model=nope", "model=nope is unknown: allowed are "),
        ("task=nope", "task=nope is unknown: allowed are "),
        ("engine=nope", "engine=nope is unknown: allowed are "),
        ("+experiments=nope", "experiments=nope is unknown: allowed are "),
        ("sed=1", "sed is not a key of the configuration: allowed here are "),
        ("task.itmes=1", "task.itmes is not a key"),
        ("protocol.blocks=0", "allowed is 1 or more"),
    ],
)
def test_a_mistake_is_answered_before_anything_heavy_is_imported(mistake, said):
    status, output, modules = loaded("bench", "technique=int8_bnb", mistake)
    assert status == "2"
    assert said in output
    assert not modules & HEAVY


def test_a_sweep_with_a_mistake_is_answered_as_fast():
    status, output, modules = loaded("bench", "--multirun", "technique=gptq,int8_bmb", "seed=1,2")
    assert (status, "technique=int8_bmb is unknown" in output) == ("2", True)
    assert not modules & HEAVY


def test_a_mistake_costs_no_engine_either(tmp_path):
    """Whatever an engine imports: it is not imported for a mistake elsewhere."""
    (tmp_path / "greedy.py").write_text(
        'import torch\nclass Greedy:\n    name = "greedy"\n    summary = "imports all it can"\n'
    )
    info = tmp_path / "greedy-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[greenbench.engines]\ngreedy = greedy\n")
    status, output, modules = loaded("bench", "engine=greedy", "engine.x=1", "sed=1", path=tmp_path)
    assert (status, "sed is not a key" in output) == ("2", True)
    assert not modules & HEAVY


def test_the_configuration_of_the_baseline_needs_no_torch():
    status, output, modules = loaded("bench", "technique=none", "--cfg")
    assert status == "0"
    assert "batch_size: 1" in output
    assert not modules & HEAVY


@pytest.mark.parametrize(
    "arguments",
    [["report"], ["advise"], ["compare", "results", "results"], ["export"], ["report", "--schema"]],
)
def test_reading_records_needs_no_torch(arguments, tmp_path):
    Store(tmp_path / "results").write(campaign.run("saver", 0.7))
    status, _, modules = loaded(*arguments, cwd=tmp_path)
    assert status == "0"
    assert not modules & {"torch", "transformers", "lm_eval", "hydra"}


def test_help_lists_what_there_is_in_a_few_words(tmp_path):
    status, said, _ = loaded("bench", "--help")
    assert status == "0"
    for words in (
        "techniques:", "  gptq               weights rounded", "  gptq_int3          gptq at 3 bits",
        "engines:", "  transformers ", "experiments:", "  smoke              Two techniques",
        "  protocol   dev, publish, quick, smoke",
    ):  # fmt: skip
        assert words in said


def test_the_help_lists_a_plug_in_of_one_file(tmp_path):
    (tmp_path / "alone.py").write_text(
        'class Alone:\n    name = "alone"\n    summary = "stands in one file"\n'
    )
    info = tmp_path / "alone-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[greenbench.techniques]\nalone = alone\n")
    done = subprocess.run(
        [sys.executable, "-m", "greenbench", "bench", "--help"],
        env=beside(tmp_path), cwd=tmp_path, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "  alone              stands in one file" in done.stdout
