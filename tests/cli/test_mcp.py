"""The command ``mcp``: what it says before it serves."""

import os
import subprocess
import sys

import pytest


def called(*words, cwd, path=""):
    """Exit status and standard error, where `path` is looked in first for modules."""
    done = subprocess.run(
        [sys.executable, "-m", "greenbench", "mcp", *words],
        cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(path), *sys.path]))},
    )  # fmt: skip
    return done.returncode, done.stderr


def test_without_the_sdk_it_says_how_to_get_it(tmp_path):
    (tmp_path / "mcp.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'mcp'\", name='mcp')\n"
    )
    status, said = called(cwd=tmp_path, path=tmp_path)
    assert status == 2
    assert said == (
        "greenbench: greenbench mcp needs the MCP SDK, which is not installed: "
        "pip install 'greenbench[mcp]'.\n"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["file.json"], "file.json is not a directory: give the results directory"),
        (["--config-dir", "nowhere"], "--config-dir nowhere is not a directory"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, words, sentence):
    (tmp_path / "file.json").write_text("{}")
    status, said = called(*words, cwd=tmp_path)
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith(f"greenbench: {sentence}")
