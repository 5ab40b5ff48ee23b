"""GreenBench from a wheel, outside its checkout, in an empty directory."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's content, as pip would unpack it."""
    place = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    site = place / "site"
    zipfile.ZipFile(wheel).extractall(site)
    return site


def greenbench(installed, directory, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "greenbench", *arguments],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_configuration_and_experiments_travel_inside_the_wheel(installed, tmp_path):
    done = greenbench(installed, tmp_path, "bench", "-m", "+experiments=smoke", "--cfg")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("prune_depth:") == 1
    assert done.stdout.count("int8_bnb:") == 1


def test_published_tables_travel_inside_the_wheel(installed, tmp_path):
    done = greenbench(installed, tmp_path, "reproduce")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("bnb-above-idle: ")


def test_results_go_to_the_current_directory(installed, tmp_path):
    done = greenbench(
        installed, tmp_path, "bench", "technique=none", "task=smoke", "task.items=2", "device=cpu",
        "workload=short", "workload.output_tokens=2", "protocol=smoke", "protocol.window_s=0.001",
        "protocol.warmup_s=0", "protocol.warmup_limit_s=0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("leaderboard.md", "index.html"):
        assert (tmp_path / "results" / name).is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"results"}


def test_help_is_for_newcomers(installed, tmp_path):
    for command in ((), ("bench",), ("report",), ("doctor",)):
        done = greenbench(installed, tmp_path, *command, "--help")
        assert done.returncode == 0
        assert "usage: greenbench" in done.stdout
    text = greenbench(installed, tmp_path, "bench", "--help").stdout
    for word in ("technique", "int8_bnb", "frontier-cpu", "--multirun", "results/leaderboard.md"):
        assert word in text
