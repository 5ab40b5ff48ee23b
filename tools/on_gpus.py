"""Run a sweep on one GPU, or on several at once, each taking the next run that none of the others is at.

python tools/on_gpus.py 1|all|0,2 OVERRIDE ...
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

GREENBENCH = (sys.executable, "-m", "greenbench", "bench", "--multirun")


def main(chosen: str, overrides: Sequence[str]) -> int:
    """The worst exit status."""
    if chosen == "1":
        return _worst([_started(overrides)])
    if not re.fullmatch(r"all|[0-9]+(,[0-9]+)*", chosen):
        print(
            f"make: GPUS={chosen} names no GPUs: say all, or their numbers, as 0,2.",
            file=sys.stderr,
        )
        return 2
    import torch

    seen = range(torch.cuda.device_count())
    if not seen:
        print(f"make: GPUS={chosen} asks for GPUs, and torch sees none here.", file=sys.stderr)
        return 2
    gpus = seen if chosen == "all" else [int(each) for each in chosen.split(",")]
    return _worst([_started([*overrides, f"device=cuda:{gpu}"]) for gpu in gpus])


def _worst(started: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all; what is ended with SIGTERM ends them."""

    def end(*_: object) -> None:
        for each in started:
            each.terminate()

    signal.signal(signal.SIGTERM, end)
    while True:
        with suppress(KeyboardInterrupt):  # which all of them have had too
            return max(_status(each.wait()) for each in started)


def _status(code: int) -> int:
    """As a shell says it of what a signal has killed."""
    return code if code >= 0 else 128 - code


def _started(overrides: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [*GREENBENCH, *overrides]
    print("+ greenbench", *command[3:], flush=True)
    return subprocess.Popen(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
