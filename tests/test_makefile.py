"""Which torch `make setup` installs, as make itself says it; nothing is run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def planned(*words):
    """What make would do in a place where nothing is installed."""
    command = ["make", "--dry-run", "setup", "VENV=build/nowhere", *words]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "installed"),
    [
        ([], "torch==2.13.0"),
        (["TORCH=cu128"], "torch==2.10.0"),
        (["TORCH=cu126", "TORCH_INDEX=https://a.b/c"], "--index-url https://a.b/c torch==2.10.0"),
    ],
)
def test_the_cuda_that_is_asked_for_decides_the_torch(words, installed):
    assert f"{installed}\n" in planned(*words).stdout


@pytest.mark.parametrize(
    ("word", "said"),
    [("TORCH=cu126", "add TORCH_INDEX=URL"), ("TORCH=cu90", "say cu130, cu128 or cu126")],
)
def test_what_cannot_be_had_is_said_before_anything_is_installed(word, said):
    refused = planned(word)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert not refused.stdout
