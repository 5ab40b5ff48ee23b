"""What is known of whether runs on the GPUs of this machine leave each other alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from greenbench.files import write_atomically
from greenbench.paths import cache_dir
from greenbench.schema.calibration import NeighbourCheck


def path_of(uuids: Iterable[str]) -> Path:
    """Where the check of the machine with these GPUs is, or will be."""
    name = hashlib.sha256("\n".join(sorted(uuids)).encode()).hexdigest()[:16]
    return cache_dir() / "calibration" / f"neighbours-{name}.json"


def write(check: NeighbourCheck, uuids: Iterable[str]) -> Path:
    """Keep `check`, whole or not at all; return its path."""
    path = path_of(uuids)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (check.model_dump_json(indent=1) + "\n").encode())
    return path


def read(uuids: Iterable[str]) -> NeighbourCheck | None:
    """That of the machine with these GPUs; null where there is none."""
    try:
        return NeighbourCheck.model_validate_json(path_of(uuids).read_bytes())
    except (OSError, ValidationError):
        return None
