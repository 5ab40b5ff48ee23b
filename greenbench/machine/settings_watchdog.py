"""A process that gives back what a run has set of GPUs when the run is gone, whatever it died of.

A run holds the other end of its standard input. That pipe ends with the run, SIGKILL included, and also where
the sweep that would give it back was killed beside it.
"""

from __future__ import annotations

import signal
import sys
import time

from greenbench.machine.gpu_settings import restore

GRACE_S = 2.0
"""A sweep that lives gives it back at once, and says so."""


def main() -> int:
    """Wait until the run is gone, and give back what it has left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    time.sleep(GRACE_S)
    restore()
    return 0


if __name__ == "__main__":
    sys.exit(main())
