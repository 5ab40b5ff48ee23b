"""The house: imports go down only, and what must stay light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import greenbench

ROOT = Path(greenbench.__file__).parent
LEVELS = [
    {
        "errors",
        "paths",
        "__init__",
        "specs",
        "applied",
        "difficulty",
        "impact",
        "records",
        "task_scores",
        "upgrades",
        "quantities",
        "stats",
        "scrub",
        "verdicts",
        "uncertainty",
    },
    {
        "texts",
        "machine",
        "meters",
        "models",
        "worker",
        "worker_child",
        "store",
        "settings",
        "mistakes",
        "console",
        "calibration",
    },
    {"techniques", "quality", "measure", "report"},
    {"config", "run", "steps", "asking", "candidate"},
    {"bench", "doctor", "calibrate", "surroundings", "reading"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "greenbench":
            parts = node.module.split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            yield from (name if name in LEVEL else "__init__" for name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    here = room_of(path)
    for room in imported_rooms(path):
        assert room == here or LEVEL[room] <= LEVEL[here], f"{here} imports {room}"


def test_no_two_rooms_import_each_other():
    edges = {(room_of(path), room) for path in FILES for room in imported_rooms(path)}
    assert not [(a, b) for a, b in edges if a != b and (b, a) in edges]


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("greenbench.report", {"torch", "transformers", "hydra", "lm_eval"}),
        ("greenbench.store", {"torch", "transformers", "hydra"}),
        ("greenbench.worker", {"torch", "transformers"}),
        ("greenbench.cli", {"torch", "transformers", "hydra", "matplotlib"}),
    ],
)
def test_what_must_be_light_imports_nothing_heavy(module, unwanted):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not unwanted & set(loaded)


def test_modules_and_functions_stay_small():
    long = []
    for path in FILES:
        text = path.read_text()
        if len(text.splitlines()) > 300:
            long.append(str(path))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > 60:
                long.append(f"{path}:{node.name}")
    assert not long
