"""Files that are no record: what reading them raises, and the sentence on each."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from greenbench.schema.record import SCHEMA_VERSION

NOT_JSON: Final = "It is not JSON, or was cut short."
FOREIGN = {("model_type", 0), ("missing", 1)}  # faults, and how deep, of what is no record at all


class Refused(Exception):
    """What is written as a record is, and can be none: its message is the sentence that says why."""


UNREADABLE: Final = (OSError, ValidationError, Refused)


def why(error: OSError | ValidationError | Refused) -> str:
    """One sentence on why a file is no record, telling of its content no more than a number and its place."""
    if not isinstance(error, ValidationError):
        return str(error) if isinstance(error, Refused) else f"It cannot be read: {error.strerror}."
    first, *_ = errors = error.errors(include_url=False)
    version = next(
        (fault["input"] for fault in errors if fault["loc"] == ("schema_version",)), None
    )
    if first["type"] == "json_invalid":
        return NOT_JSON
    if isinstance(version, int) and version > SCHEMA_VERSION:
        return (
            f"It is of a newer GreenBench: its schema version is {version}, and this one reads up "
            f"to {SCHEMA_VERSION}."
        )
    if isinstance(version, int):
        return f"It has schema version {version}, not {SCHEMA_VERSION} as this GreenBench."
    if any((fault["type"], len(fault["loc"])) in FOREIGN for fault in errors):
        return "It is not a record of GreenBench."
    place = ".".join(map(str, first["loc"])) or "its top"
    return f"It breaks the record's schema at {place[:80]!r}: {first['msg']}."
