"""What docs/ says of the code, read off the code: ``python tools/reference.py DIRECTORY`` writes it.

The pages in docs/ include these parts by name, so that they cannot say what the code no longer does.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

from record_reference import cell, markdown, record_page

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "greenbench"


def codes_page() -> str:
    """Every validity code: what it does, and what it means."""
    from greenbench.schema.codes import CODES

    rows = "".join(f"| `{c}` | {of.severity} | {of.meaning} |\n" for c, of in sorted(CODES.items()))
    return f"| code | the window, or run, is | meaning |\n|---|---|---|\n{rows}"


def rooms_page() -> str:
    """Every folder with the sentence that it says of itself."""
    rows = ""
    for init in sorted(PACKAGE.rglob("__init__.py")):
        folder = init.parent.relative_to(ROOT).as_posix()
        sentence = (ast.get_docstring(ast.parse(init.read_text())) or "").partition("\n\n")[0]
        rows += f"| `{folder}/` | {cell(sentence)} |\n"
    return f"| room | what is in it |\n|---|---|\n{rows}"


def techniques_page() -> str:
    """Every technique by family, with its knobs and their defaults."""
    from greenbench import engines
    from greenbench.techniques import discover

    known = {name: engines.load(name) for name in engines.named()}
    families: dict[str, list[type]] = {}
    for cls in discover().values():
        folder = cls.__module__.split(".")[-2]
        families.setdefault(getattr(cls, "family", folder), []).append(cls)
    return "\n".join(
        f"### {family.replace('_', ' ').capitalize()}\n\n| option | what it does | reaches an engine "
        "| knobs | source |\n|---|---|---|---|---|\n"
        + "".join(_technique(cls, known) for cls in sorted(some, key=lambda c: c.name))
        for family, some in sorted(families.items())
    )


def _technique(cls: Any, engines: Mapping[str, Any]) -> str:
    from greenbench.techniques.ways import way

    knobs = ", ".join(f"`{k.name}`{_default(k)}" for k in dataclasses.fields(cls))
    paper = re.sub(r"^arXiv:(.+)$", r"[arXiv:\1](https://arxiv.org/abs/\1)", cls.paper or "")
    return f"| `{cls.name}` | {cell(cls.summary)} | {way(cls, engines)} | {knobs} | {paper} |\n"


def _default(knob: dataclasses.Field[Any]) -> str:
    value = getattr(knob.default, "value", knob.default)
    if value is dataclasses.MISSING or dataclasses.is_dataclass(value):
        return ""
    return f" = {'null' if value is None else value}"


CONTRACTS = {
    "technique": ("greenbench/techniques/technique.py",),
    "engine": ("greenbench/engines/engine.py", "greenbench/engines/start.py"),
    "meter": ("greenbench/meters/meter.py",),
}
"""The files that say what one builds on, by the page that shows them."""


def contract(paths: tuple[str, ...]) -> str:
    """The public classes of files, as they stand."""
    shown = []
    for text in ((ROOT / path).read_text() for path in paths):
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
                shown.append("\n".join(text.splitlines()[first - 1 : node.end_lineno]))
    return "```python\n" + "\n\n\n".join(shown) + "\n```\n"


def api_page(path: Path = PACKAGE / "api.py") -> str:
    """Every public function of the Python API: its signature and its docstring."""
    if not path.exists():
        return "`greenbench/api.py` is not there yet.\n"
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]
    parts = (f"### {n.name}\n\n{_signature(n)}\n{_body(n)}\n" for n in public)
    return "\n".join([_body(tree), "", *parts])


def _signature(node: Any) -> str:
    if isinstance(node, ast.ClassDef):
        return ""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{node.name}({ast.unparse(node.args)}){returns}"
    if len(line) > 90:
        given = "".join(f"    {each},\n" for each in _arguments(node.args))
        line = f"{node.name}(\n{given}){returns}"
    return f"```text\n{line}\n```\n"


def _arguments(args: ast.arguments) -> list[str]:
    """Each argument as it is written; none of ours holds a comma outside brackets but between two."""
    pieces, depth, text = [""], 0, ast.unparse(args)
    for mark in text:
        depth += (mark in "([{") - (mark in ")]}")
        if mark == "," and not depth:
            pieces.append("")
        else:
            pieces[-1] += mark
    return [piece.strip() for piece in pieces]


def _body(node: Any) -> str:
    """The docstring, its examples fenced."""
    text = markdown(ast.get_docstring(node) or "")
    example = re.compile(r"^ *>>> .*(?:\n.+)*$", re.MULTILINE)
    return example.sub(lambda found: f"```pycon\n{dedent(found[0])}\n```", text)


PAGES: dict[str, Callable[[], str]] = {
    "record": record_page,
    "codes": codes_page,
    "rooms": rooms_page,
    "techniques": techniques_page,
    "api": api_page,
    **{name: partial(contract, paths) for name, paths in CONTRACTS.items()},
}


def write(folder: Path) -> None:
    """Write every part into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / f"{name}.md").write_text(page())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
