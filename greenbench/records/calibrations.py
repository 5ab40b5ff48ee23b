"""How fine this machine's meters and clocks are, as records cite it."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationError

from greenbench.files import write_atomically
from greenbench.paths import cache_dir
from greenbench.schema.calibration import Calibration
from greenbench.schema.quantity import Part


class Stored(Part):
    """The file: a calibration and the id it had when it was written."""

    id: str
    calibration: Calibration


def path_of(device_name: str) -> Path:
    """Where the calibration of a device is, or will be."""
    slug = re.sub(r"[^a-z0-9]+", "-", device_name.lower()).strip("-") or "device"
    return cache_dir() / "calibration" / f"{slug}.json"


def write(calibration: Calibration) -> Path:
    """Store `calibration` with its id, whole or not at all; return its path."""
    path = path_of(calibration.device_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = Stored(id=calibration.id, calibration=calibration)
    write_atomically(path, (stored.model_dump_json(indent=1) + "\n").encode())
    return path


def read(device_name: str) -> Calibration | None:
    """The calibration of a device; null where there is none, or it was changed after its writing."""
    try:
        stored = Stored.model_validate_json(path_of(device_name).read_bytes())
    except (OSError, ValidationError):
        return None
    found = stored.calibration
    return found if found.id == stored.id and found.device_name == device_name else None


def calibration_id(device_name: str) -> str | None:
    """The id that a record on this device cites, or null where it is not calibrated."""
    found = read(device_name)
    return found.id if found else None
