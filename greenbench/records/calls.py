"""The command of a record, made anew of its parts: whoever copies it runs GreenBench and nothing else."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from typing import Final

from greenbench.records.asked import asks_for
from greenbench.schema.resolved import ResolvedSpec
from greenbench.schema.spec import RunSpec

PROGRAM: Final = ["greenbench", "bench"]
KEY: Final = re.compile(r"(\+?)([a-z_]\w*)(?:[./]\w+)*", re.ASCII | re.IGNORECASE)
PARTS: Final = {field.name for field in fields(RunSpec)}
BENCH: Final = {
    "hydra", "results", "force", "sessions", "launcher", "devices", "device_groups",
}  # fmt: skip
"""Keys that say how `bench` treats its runs, and not what they are."""
NO_CALL: Final = (
    "# not shown: what this record has for its command is no call of greenbench bench for it"
)
"""In its place; a shell passes over it."""


def rebuilt(command: str, spec: ResolvedSpec | None = None) -> str:
    """The call of ``greenbench bench`` that `command` is, each word quoted; `NO_CALL` where it is none.

    Its words are overrides of a run's spec, or name a group of files that is added to it. None says where
    anything is written, steers a terminal, or has a value looked up where it is run. Given the record's
    `spec`, none asks for another thing than that says.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if words[:2] != PROGRAM or not all(map(_is_override, words[2:])):
        return NO_CALL
    if spec is not None and not asks_for(words[2:], spec):
        return NO_CALL
    return shlex.join(words)


def _is_override(word: str) -> bool:
    key, equals, value = word.partition("=")
    match = KEY.fullmatch(key)
    if not (match and equals and word.isprintable()) or "${" in value:
        return False
    return match[2] in PARTS or (match[1] == "+" and match[2] not in BENCH and "." not in key)
