"""Time for tests."""

from greenbench.simulate.moved_clock import MovedClock

__all__ = ["MovedClock"]
