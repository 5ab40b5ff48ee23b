"""Templates of tasks: Jinja that words a question from its fields, and reaches nothing else."""

from __future__ import annotations

import re
import types
from typing import Any

from greenbench.quality.tasks.yaml_files import values

TEMPLATE = re.compile("{[{%]")
WAYS = {name for kind in (type, types.FunctionType) for name in dir(kind) if name.startswith("__")}
"""From any value to all of Python, such as ``__class__``."""


def shut_in() -> None:
    """From now on lm-eval fills in all templates in Jinja's sandbox, which neither reaches Python nor
    changes a value: somebody else's, and its own, which read alike there."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from lm_eval import utils

    theirs = utils.env
    if isinstance(theirs, ImmutableSandboxedEnvironment):
        return
    utils.env = ImmutableSandboxedEnvironment(
        loader=theirs.loader,
        undefined=theirs.undefined,
        keep_trailing_newline=theirs.keep_trailing_newline,
    )
    utils.env.filters.update(theirs.filters)


def reaching(content: Any) -> str | None:
    """The first name in templates of a file's `content` that leads to Python; null: there is none."""
    found = (_reaching(value) for value in values(content) if isinstance(value, str))
    return next(filter(None, found), None)


def _reaching(text: str) -> str | None:
    from jinja2 import Environment, TemplateSyntaxError, nodes

    if not TEMPLATE.search(text):
        return None
    try:
        tree = Environment().parse(text)
    except TemplateSyntaxError:  # lm-eval will say so, or it is no template
        return None
    filters = [each for each in tree.find_all(nodes.Filter) if each.name == "attr" and each.args]
    asked = [
        *(node.attr for node in tree.find_all(nodes.Getattr)),
        *(_said(node.arg) for node in tree.find_all(nodes.Getitem)),
        *(_said(node.args[0]) for node in filters),
    ]
    return next((name for name in asked if name in WAYS), None)


def _said(node: Any) -> Any:
    """A constant's value."""
    return getattr(node, "value", None)
