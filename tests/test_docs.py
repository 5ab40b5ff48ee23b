"""The documentation names what exists, its examples run, and the record's page covers every field.

Links and anchors between pages are `make docs`'s to check.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import greenbench

ROOT = Path(greenbench.__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import record_reference  # noqa: E402
import reference  # noqa: E402

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "greenbench|conf|docs|tests|tools|benchmarks|experiments|requirements"
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def is_there(dotted):
    """Whether ``greenbench.x.y`` is a folder, a module, or a name in a module."""
    *above, last = dotted.split(".")
    if (ROOT / "/".join(above) / last).is_dir() or (
        ROOT / f"{dotted.replace('.', '/')}.py"
    ).exists():
        return True
    sources = (ROOT / f"{'/'.join(above)}.py", ROOT / "/".join(above) / "__init__.py")
    return any(re.search(rf"\b{last}\b", file.read_text()) for file in sources if file.exists())


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_readme_is_what_a_newcomer_needs():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 150
    assert "## What is not verified" in lines


@each_page
def test_every_target_exists(page):
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert not {name for name in named if not re.search(rf"^{name}:", makefile, re.MULTILINE)}


@each_page
def test_every_sweep_exists(page):
    named = re.findall(r"(?:EXPERIMENT=|\+experiments=)([a-z][a-z-]+)", page.read_text())
    assert not [name for name in named if not (ROOT / "experiments" / f"{name}.yaml").exists()]


@each_page
def test_every_path_exists(page):
    paths = re.findall(rf"(?<![\w./~-])(?:{FOLDERS})/[\w./-]*", page.read_text())
    lost = {path.rstrip(".") for path in paths if not (ROOT / path.rstrip(".")).exists()}
    assert not lost


@each_page
def test_every_module_exists(page):
    named = set(re.findall(r"(?<![\w.])greenbench(?:\.\w+)+", page.read_text()))
    assert not {name for name in named if not is_there(name)}


@each_page
def test_every_link_leads_to_a_file(page):
    """Pictures and files too, which the site generator does not look for."""
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert not [target for target in local if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("add-a*.md")), ids=lambda p: p.stem)
def test_examples_compile_and_import_what_is_there(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("greenbench"):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                assert not {name for name in names if not is_there(name)}


USES = {
    "add-an-engine": """
from greenbench.engines.engine import Build, Request
file = Path(__file__).with_name("config.json")
file.write_text("hello")
build = Build(model=None, form="safetensors", source=file.parent, directory=file.parent)
with Echo(pause_s=0.0).serve(build, None) as served:
    done, = served.complete([Request(tokens=(1, 2, 3), new_tokens=7)])
    assert (done.tokens, done.prompt_tokens, len(done.gaps_s)) == (7, 3, 6)
    assert done.ttft_s <= done.seconds
    assert served.footprint().reason
    async def talk(line):
        return await line.ask(Request(tokens=(1, 2), new_tokens=3), []), await line.queue()
    done, queue = served.converse(talk)
    assert (done.tokens, queue) == (3, (0, 0))
    answer, = served.write([Ask((1, 2), 7, ("o",))])
    assert (answer.text, answer.cut, answer.completion.tokens) == ("hell", False, 7)
""",
    "add-a-meter": """
from itertools import count
UsbMeter._count = lambda self, counts=count(): next(counts)
meter = UsbMeter()
before, after = meter.read(), meter.read()
assert abs(after.energy_j - before.energy_j - J_PER_COUNT) < 1e-9
assert after.time_s > before.time_s and not after.faults
meter.close()
""",
}
"""What a reader would try first with the page's example."""


@pytest.mark.parametrize("stem", USES)
def test_examples_run(stem, tmp_path):
    """In a process of their own, for discovery finds every engine that was ever defined."""
    program = tmp_path / "example.py"
    program.write_text(blocks(ROOT / "docs" / f"{stem}.md", "python")[0] + USES[stem])
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_field_of_a_record_has_a_meaning():
    dumb = [
        f"{part.__name__}.{entry.name}"
        for part in record_reference.parts(record_reference.record())
        for entry in record_reference.entries(part)
        if not entry.meaning
    ]
    assert not dumb


def test_every_number_of_a_record_has_a_unit_and_says_where_it_comes_from():
    bare = [
        f"{part.__name__}.{entry.name}"
        for part in record_reference.parts(record_reference.record())
        for entry in record_reference.entries(part)
        if "number" in entry.type and not (entry.unit and entry.source)
    ]
    assert not bare


def test_the_record_page_shows_every_field():
    page = record_reference.record_page()
    for part in record_reference.parts(record_reference.record()):
        section = page.partition(f"## {part.__name__}\n")[2].partition("\n## ")[0]
        assert not [name for name in record_reference.hints(part) if f"| `{name}` |" not in section]


def test_links_within_the_record_page_lead_somewhere():
    page = record_reference.record_page()
    heads = {head.lower() for head in re.findall(r"^#+ (\w+)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#(\w+)\)", page)) <= heads


def test_every_provenance_and_boundary_is_explained():
    page = (ROOT / "docs" / "record.md").read_text()
    words = {name: words for words, name in record_reference.aliases().items()}
    assert not [w for w in words["Provenance"] + words["Boundary"] if f"| `{w}` |" not in page]


def test_every_room_and_code_is_told():
    rooms, codes = reference.rooms_page(), reference.codes_page()
    assert not [f for f in (ROOT / "greenbench").rglob("__init__.py")
                if f"`{f.parent.relative_to(ROOT).as_posix()}/`" not in rooms]  # fmt: skip
    assert codes.count("\n") > 10


def test_rules_of_the_protocol_are_numbered_in_order():
    text = (ROOT / "docs" / "protocol.md").read_text()
    numbers = [int(number) for number in re.findall(r"^\*\*(\d+)\. ", text, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_page_is_in_the_site():
    nav = str(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert not [page.name for page in (ROOT / "docs").glob("*.md") if page.name not in nav]


def test_the_api_page_shows_signatures_docstrings_and_examples(tmp_path):
    source = tmp_path / "api.py"
    source.write_text(
        '"""What it is.\n\n    >>> 2 + 2\n    4\n"""\n\n\n'
        "def bench(overrides: list[str], *, multirun: bool = False) -> list[int]:\n"
        '    """Run ``overrides``.\n\n        >>> 1 + 1\n        2\n    """\n\n\ndef _hidden(): ...\n'
    )
    page = reference.api_page(source)
    assert "bench(overrides: list[str], *, multirun: bool=False) -> list[int]" in page
    assert "Run `overrides`." in page
    assert "```pycon\n>>> 1 + 1\n2\n```" in page
    assert page.startswith("What it is.\n\n```pycon\n>>> 2 + 2\n4\n```\n")
    assert "_hidden" not in page


def test_every_example_of_the_api_page_is_fenced():
    outside = re.sub(r"```pycon\n.*?```", "", reference.api_page(), flags=re.DOTALL)
    assert ">>>" not in outside
