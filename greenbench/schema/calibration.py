"""What a calibration found of this machine's meters."""

from __future__ import annotations

import hashlib
import json

from greenbench.schema.quantity import Boundary, Part, Provenance, Quantity

ID_DIGITS = 16


class MeterCost(Part):
    """One meter's resolution and price."""

    meter: str
    boundary: Boundary
    provenance: Provenance
    tick_s: float
    """Seconds between two steps of its counter, as its probe saw them."""
    read: Quantity
    """Seconds a reading takes, median."""


class NoiseFloor(Part):
    """What an A/A run, the model against itself, showed: no smaller effect can be seen so."""

    tokens_per_s: Quantity
    """Half of the 95 % interval of the ratio, over the ratio."""
    energy_per_token: Quantity
    """Likewise of the joules, where they are measured."""
    record: str
    """Key of the A/A run."""
    measured_at: str
    window_s: float
    blocks: int


class Calibration(Part):
    """What ``greenbench doctor --calibrate`` found about one device of one machine."""

    device_name: str
    date: str
    """UTC, ISO 8601."""
    versions: dict[str, str]
    meters: list[MeterCost]
    refused: dict[str, str]
    """Why the other meters do not answer."""
    sampler: Quantity
    """CPU seconds per second that the background power sampler takes."""
    noise: NoiseFloor

    @property
    def id(self) -> str:
        """Hash of its content (16 hex digits), for records to cite."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]
