"""A process that gives back what a run has set of GPUs when the run is gone, whatever it died of.

A run holds the other end of its standard input. That pipe ends with the run, SIGKILL included, and also where
the sweep that would give it back was killed beside it.
"""

from __future__ import annotations

import signal
import sys
import time

from greenbench.machine.gpu_settings import journals_folder, restore

GRACE_S = 2.0
"""A sweep that lives gives it back at once, and says so."""
PATIENCE_S, POLL_S = 60.0, 2.0
"""A run that dies lets go of its lock once its GPUs are torn down, seconds after its pipe has ended."""


def main() -> int:
    """Wait until the run is gone, and give back what it has left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_s = time.monotonic() + PATIENCE_S
    time.sleep(GRACE_S)
    restore()
    while any(journals_folder().glob("*.json")) and time.monotonic() < end_s:
        time.sleep(POLL_S)
        restore()
    return 0


if __name__ == "__main__":
    sys.exit(main())
