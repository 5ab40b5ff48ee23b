"""What a calibration found of this machine's meters."""

from __future__ import annotations

import hashlib
import json

from greenbench.schema.quantity import Boundary, Part, Provenance, Quantity
from greenbench.stats.intervals import MARGIN

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


class NeighbourCheck(Part):
    """What runs on all other GPUs of a machine do to a run: the model against itself, alone and beside."""

    device_name: str
    date: str
    """UTC, ISO 8601."""
    neighbours: int
    """GPUs that were kept busy."""
    moved: dict[str, Quantity]
    """By ratio's name: what it is beside them, over what it is alone."""
    ratios: dict[str, Quantity]
    """Beside them, of the model over itself."""
    margin: float = MARGIN

    @property
    def passed(self) -> bool:
        """Whether each of these is shown to be 1 within the margin."""
        least, most = 1 / (1 + self.margin), 1 + self.margin
        found = [*self.moved.values(), *self.ratios.values()]
        bounds = [(each.low, each.high) for each in found]
        return bool(bounds) and all(
            low is not None and high is not None and least <= low and high <= most
            for low, high in bounds
        )


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
