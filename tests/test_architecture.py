"""The house: imports go down only, and what must stay light stays light."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import greenbench

ROOT = Path(greenbench.__file__).parent
FLOORS = [
    {"__main__"},
    {"cli"},
    {"api", "doctor"},
    {"campaign"},
    {"run"},
    {"measure", "techniques", "quality", "report"},
    {"engines", "meters", "analysis"},
    {"machine", "models"},
    {"records"},
    {"schema"},
    {"files", "stats", "wording", "scrub", "plugins"},
    {"errors", "paths", "__init__"},
]
"""From the top down. A room imports from lower floors only, never from its own."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = 20
"""Of one folder, at most."""
FILES = sorted(ROOT.rglob("*.py"))
HOUSE = [path for path in FILES if path != ROOT / "__init__.py"]  # it gives api's names, when asked


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "greenbench":
            parts = node.module.split(".")
            names = [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
            yield from (name if name in FLOOR else "__init__" for name in names)


@pytest.mark.parametrize("path", HOUSE, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    here = room_of(path)
    for room in imported_rooms(path):
        assert room == here or FLOOR[room] > FLOOR[here], f"{here} imports {room}"


def test_a_folder_is_a_room_that_can_be_seen_at_a_glance():
    counts = Counter(path.parent for path in FILES)
    assert not [folder for folder, count in counts.items() if count - 1 > MODULES]


def test_every_folder_says_in_a_sentence_what_it_holds():
    for path in ROOT.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("greenbench.report", {"torch", "transformers", "hydra", "lm_eval"}),
        ("greenbench.records.store", {"torch", "transformers", "hydra"}),
        ("greenbench.campaign.launch.local", {"torch", "transformers"}),
        ("greenbench.cli.main", {"torch", "transformers", "hydra", "matplotlib"}),
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
