"""Analyses give values and reasons: no word of markdown or HTML."""

import ast
import re
from pathlib import Path

import pytest

from greenbench import analysis

ROOT = Path(analysis.__file__).parent
MARKUP = re.compile(r"`|\*\*|\| | \||^\s*(#+|[-*]) |</?[a-z]+>", re.MULTILINE)


def texts(path):
    """String literals that are no documentation."""
    tree = ast.parse(path.read_text())
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


@pytest.mark.parametrize(
    "path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_text_is_markup(path):
    assert not [text for text in texts(path) if MARKUP.search(text)]
