"""An answer in lines: as text for a terminal, or as markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from greenbench.report.markdown.format import fenced, prose
from greenbench.wording import plain, visible

WIDTH = 100
LONG = 4000


class Line(NamedTuple):
    """One line of the answer: a heading, a sentence, an item of a list, or a command."""

    kind: Literal["head", "say", "item", "run"]
    text: str


def text_of(lines: Iterable[Line]) -> str:
    """For a terminal."""
    return "\n".join(part for line in lines for part in _wrapped(line)).strip()


def _wrapped(line: Line) -> list[str]:
    text = plain(line.text, LONG)
    match line.kind:
        case "head":
            return ["", text, "=" * min(len(text), WIDTH)]
        case "say":
            return ["", *textwrap.wrap(text, WIDTH)]
        case "item":
            return textwrap.wrap(text, WIDTH, initial_indent="- ", subsequent_indent="  ")
        case "run":
            return [f"    {visible(line.text)}"]


def markdown_of(answer: Iterable[Line]) -> str:
    """For a page or a pull request."""
    lines: list[str] = []
    for kind, text in answer:
        if kind == "run":
            lines += ["", *(f"  {line}" for line in fenced([text])), ""]
        else:
            mark = {"head": "## ", "say": "", "item": "- "}[kind]
            space = [] if kind == "item" else [""]
            lines += [*space, f"{mark}{prose(text, LONG)}", *space]
    return _single_spaced(lines)


def _single_spaced(lines: Sequence[str]) -> str:
    kept = [line for line, before in zip(lines, ["", *lines], strict=False) if line or before]
    return "\n".join(kept).strip()
