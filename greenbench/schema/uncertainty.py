"""An uncertainty budget of an energy number."""

from __future__ import annotations

from typing import Final

from greenbench.schema.quantity import Boundary, Part

COVERS: Final[dict[Boundary, str]] = {
    "gpu": "the GPU alone: not the host's CPU, memory and fans, nor losses in the power supply",
    "module": "the whole module (GPU, its CPU and memory): not fans, nor losses in the power supply",
    "cpu_package": "the CPU package alone: not memory, other devices, nor losses in the power supply",
    "dram": "the memory alone: not the CPU, other devices, nor losses in the power supply",
    "wall": "the whole machine, losses in the power supply included",
}


class Uncertainty(Part):
    """Uncertainty budget of one energy: relative standard uncertainties, null where not known."""

    tick: float
    """A reading is late by up to one tick, and by as long as it takes, at either end of the window."""
    tick_bound: float
    """The most that ticks can do: 2 tick / window, reached if power doubles towards an edge."""
    edges: float | None = None
    """What was drawn while no request ran; null in records of before."""
    repeats: float | None
    """Spread between blocks, from the 95 % interval."""
    gain: float | None
    """The sensor's gain; null in a ratio, where it cancels."""
    boundary: str
    """What the joules cover. A definition, not an error: it adds nothing to the total."""
    total: float | None
    """Root of the sum of squares of tick, edges, repeats and gain."""
    expanded: float | None
    """2 x total: about 95 %."""
    reason: str | None
    """Why there is no total."""
