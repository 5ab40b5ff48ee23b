"""Records beside the documents that they are, for what holds one against the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from greenbench.records.store import Rejected, parsed
from greenbench.records.unreadable import NOT_JSON
from greenbench.schema.record import Record


class Opened(NamedTuple):
    """Both of one reading: two parsers may read one file two ways."""

    record: Record
    document: Mapping[str, Any]
    """As the file has it, whatever its version."""


def opened(file: Path, data: bytes) -> Opened | Rejected:
    """What is in `data`, the content of `file`, or why there is no record."""
    try:
        document = json.loads(data.decode())
    except (ValueError, RecursionError):
        found = parsed(file, data)
        return found if isinstance(found, Rejected) else Rejected(file.name, NOT_JSON)
    found = parsed(file, data, document)
    return found if isinstance(found, Rejected) else Opened(found, document)
