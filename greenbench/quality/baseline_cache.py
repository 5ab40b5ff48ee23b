"""The baseline's answers, computed once for a model, device and set of items, and kept for later runs.

One file an entry, named by a hash of all that the answers depend on: the model's content, dtype and
device, every request, and what computes. It is written whole or not at all, and while one process
computes an entry, others that need it wait.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock

from greenbench.engines.query import Seen
from greenbench.files import replaced
from greenbench.models import inputs
from greenbench.paths import cache_dir
from greenbench.quality.answers import Answers, Choice, TaskAnswers

SCORER = 3
"""Counts changes of our code that change answers."""
TUPLES = ("indices", "values", "weights", "documents")


class Kept(NamedTuple):
    """Answers of an earlier run."""

    answers: Answers
    scored_at: str
    """UTC, ISO 8601."""


def entry(identity: Mapping[str, Any]) -> Path:
    """The file for what `identity` says: JSON-able values on which the answers depend."""
    whole = {
        **identity,
        "scorer": SCORER,
        "threads": torch.get_num_threads(),
        "packages": inputs.packages(),
    }
    return cache_dir() / "answers" / f"{inputs.key(whole)[:32]}.pt"


@contextmanager
def claimed(file: Path) -> Iterator[None]:
    """Hold the right to make the entry `file`; whoever dies lets go."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        for abandoned in file.parent.glob(f".{file.stem}.*.tmp"):
            abandoned.unlink(missing_ok=True)
        yield


def read(file: Path) -> Kept | None:
    """What is kept in `file`; null where there is nothing, or nothing that can be read."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
        told = json.loads(found["told"])
        places = [tuple(place) for place in told["places"]]
        seen = Seen(places, found["logits"]) if places else None
        answers = Answers([_task(task) for task in told["tasks"]], seen, [])
        return Kept(answers, told["scored_at"])
    except Exception:  # a file of another version, cut short or damaged, is made anew
        return None


def write(file: Path, answers: Answers) -> None:
    """Keep `answers`."""
    seen = answers.seen or Seen([], torch.empty(0))
    told = {
        "tasks": [vars(task) for task in answers.tasks],
        "places": seen.places,
        "scored_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with replaced(file, durable=False) as fresh:
        torch.save({"told": json.dumps(told), "logits": seen.logits}, fresh)


def _task(told: dict[str, Any]) -> TaskAnswers:
    choices = tuple(tuple(Choice(*each) for each in item) for item in told["choices"])
    return TaskAnswers(
        **{**told, **{name: tuple(told[name]) for name in TUPLES}, "choices": choices}
    )
