"""What the user needs of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from greenbench.analysis.choices.service import Limits
from greenbench.analysis.energy.savings import DAY_S
from greenbench.errors import UserError
from greenbench.schema.load_spec import MOST_RATE

LEAST: Final = 1e-9
"""Of any limit: less is 0 in all but name."""
MOST: Final = {"rate": MOST_RATE, "requests_per_day": MOST_RATE * DAY_S}
"""Rates are those that a load may have."""
MOST_ELSE: Final = 1e12


class Needs(NamedTuple):
    """Limits a run must keep; null where there is none."""

    quality_loss: float = 1.0
    """Points of accuracy that may be lost."""
    token_ms: float | None = None
    """Median milliseconds per output token."""
    first_token_ms: float | None = None
    """Median milliseconds to the first token."""
    memory_gb: float | None = None
    """Peak, in 10^9 bytes."""
    requests_per_day: float | None = None
    rate: float | None = None
    """Requests per second, in its place."""
    ttft_ms: float | None = None
    """At that rate, from when a request is due to its first token."""
    tpot_ms: float | None = None
    """At that rate, between later tokens."""

    @property
    def daily(self) -> float | None:
        """Requests a day."""
        return self.requests_per_day if self.rate is None else self.rate * DAY_S

    @property
    def rate_s(self) -> float | None:
        """Requests per second, in the mean of a day."""
        return None if self.daily is None else self.daily / DAY_S

    @property
    def within(self) -> Limits:
        """Limits at a rate."""
        return Limits(self.ttft_ms, self.tpot_ms)


def needs(given: Mapping[str, str | None]) -> Needs:
    """Needs from the command's words. Raises UserError, one sentence, for what is no limit."""
    values = {name: _positive(name, text) for name, text in given.items() if text is not None}
    found = Needs(**values)
    if found.rate is not None and found.requests_per_day is not None:
        raise UserError(
            "Both rate and requests_per_day are given, and one follows from the other: give one."
        )
    if any(found.within) and found.rate is None:
        raise UserError(
            "The limits ttft_ms and tpot_ms hold at a rate: give rate too, in requests/s."
        )
    return found


def _positive(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise UserError(f"The limit {name}={text} is not a number: give one above 0.") from error
    most = MOST.get(name, MOST_ELSE)
    if not LEAST <= value <= most:
        raise UserError(
            f"The limit {name}={text} is out of range: give one above 0, from {LEAST:g} to {most:.10g}."
        )
    return value
