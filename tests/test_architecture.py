"""The house: imports go down only, and what must stay light stays light."""

import ast
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import greenbench

ROOT = Path(greenbench.__file__).parent
FLOORS = [
    {"__main__"},
    {"cli"},
    {"agents"},
    {"api", "doctor"},
    {"campaign", "simulate"},
    {"run"},
    {"measure", "techniques", "quality", "report"},
    {"engines", "meters", "analysis"},
    {"machine", "models"},
    {"records"},
    {"schema"},
    {"files", "stats", "wording", "scrub", "plugins", "arguments"},
    {"errors", "paths", "__init__"},
]
"""From the top down. A room imports from lower floors only, never from its own."""
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = 20
"""Of one folder, at most."""
FILES = sorted(ROOT.rglob("*.py"))
HOUSE = [path for path in FILES if path != ROOT / "__init__.py"]  # it gives api's names, when asked


MAY_IMPORT = {
    "torch": (
        "engines/transformers/",
        "techniques/",
        "models/parts.py",
        "models/weights.py",
        "machine/detect.py",
        "machine/busy_gpu.py",
        "machine/roofline.py",
        "quality/baseline_cache.py",
    ),
    "transformers": (
        "engines/transformers/",
        "techniques/",
        "models/parts.py",
        "models/weights.py",
    ),
    "pynvml": ("machine/", "meters/", "simulate/nvml_bench.py"),
    "lm_eval": (
        "quality/",
        "engines/scoring.py",
        "engines/serving/scoring.py",
        "engines/transformers/scoring.py",
    ),
    "aiohttp": ("engines/serving/",),
    "llmcompressor": ("techniques/shared/one_shot.py",),
    "openvino": (
        "engines/openvino/serve_ir.py",
        "engines/openvino/score_ir.py",
        "engines/openvino/export_ir.py",
        "engines/openvino/trace_ir.py",
    ),
    "openvino_genai": ("engines/openvino/serve_ir.py",),
    "xllamacpp": ("engines/llama_cpp/serve_gguf.py", "engines/llama_cpp/score_gguf.py"),
    "hydra": (
        "campaign/command.py",
        "campaign/compose.py",
        "campaign/mistakes.py",
        "campaign/overrides.py",
    ),
    "argparse": ("cli/",),
    "mcp": ("agents/serve.py",),
}
"""Who may import what is not ours and would spread."""
SUBJECTS = {
    "advice", "bench", "cascade", "codes", "comparison", "cost_frontiers", "crossover", "data",
    "difficulty", "energy_by_meter", "energy_by_phase", "energy_label", "files", "fleet", "frontier",
    "history", "impact", "interactions", "life_cycle", "load_curve", "lost_time", "make", "merge",
    "model_frontier", "overrides", "power", "promises", "quality", "race", "roofline", "savings", "selection",
    "sessions", "shifting", "solved", "technique", "training", "uncertainty", "under_load", "verdicts",
}  # fmt: skip
"""Stems that several rooms have, as each treats the subject in its own way."""


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


def annotations_only(tree):
    """What is imported for the type checker, by the ids of the statements."""
    guards = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)
    ]
    return {id(node) for guard in guards for node in ast.walk(guard)}


def imported(path):
    """Names of the modules that `path` imports, wherever in it."""
    tree = ast.parse(path.read_text())
    left_out = annotations_only(tree)
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_what_would_spread_is_imported_only_where_it_may_be(library):
    found = {
        str(path.relative_to(ROOT))
        for path in FILES
        if any(name.partition(".")[0] == library for name in imported(path))
    }
    assert found, "a rule about nothing"
    assert not {name for name in found if not name.startswith(MAY_IMPORT[library])}


def module_of(path):
    parts = ("greenbench", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def needed_at_import(path, modules):
    """Our modules that must be there before `path` is."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("greenbench"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules else node.module


def test_no_circle():
    modules = {module_of(path) for path in FILES}
    graph = {module_of(path): set(needed_at_import(path, modules)) for path in FILES}
    assert modules <= set(
        TopologicalSorter(graph).static_order()
    )  # else a CycleError names the circle


def test_a_stem_names_one_subject():
    """In two rooms it is the same subject in both, or one of the two needs another name."""
    rooms = {}
    for path in FILES:
        if path.stem != "__init__":
            rooms.setdefault(path.stem, set()).add(room_of(path))
    shared = {stem for stem, where in rooms.items() if len(where) > 1}
    assert shared == SUBJECTS


def test_a_folder_is_a_room_that_can_be_seen_at_a_glance():
    counts = Counter(path.parent for path in FILES)
    assert not [folder for folder, count in counts.items() if count - 1 > MODULES]


def test_every_folder_says_in_a_sentence_what_it_holds():
    for path in ROOT.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("greenbench.measure.recorder", {"torch", "transformers", "lm_eval"}),
        ("greenbench.measure.pair", {"torch", "transformers", "lm_eval"}),
        ("greenbench.quality.compare", {"torch", "transformers", "lm_eval"}),
        ("greenbench.report", {"torch", "transformers", "hydra", "lm_eval"}),
        ("greenbench.records.store", {"torch", "transformers", "hydra"}),
        ("greenbench.campaign.launch.local", {"torch", "transformers"}),
        ("greenbench.agents.tools", {"torch", "transformers", "lm_eval"}),
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


def test_tests_mirror_the_rooms():
    """A folder of tests is called like the room that it tests."""
    tests = Path(__file__).parent
    others = {"helpers", "integration"}
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert not {
        folder
        for folder in folders
        if not {*folder.parts[:1]} & others and not (ROOT / folder).is_dir()
    }
