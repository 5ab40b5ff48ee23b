"""What a command prints gets out, or one sentence says that it does not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from greenbench.files import unwritable

GONE = 128 + 13
"""The exit status of one whose reader has gone, as after ``| head``: as if by SIGPIPE."""


def printed(command: Callable[[], int]) -> int:
    """The status of `command`, whose output must get out for that; 2 where it does not."""
    out, error = _Watched(sys.stdout), _Watched(sys.stderr)
    streams = [each for each in (out, error) if each.of is not None]  # as where it was closed
    with redirect_stdout(out.stream), redirect_stderr(error.stream):
        try:
            try:
                status = command()
            finally:
                for stream in streams:
                    stream.flush()
        except (OSError, SystemExit):
            if not any(stream.fault for stream in streams):
                raise
    faults = [stream.let_go() for stream in streams if stream.fault]
    return _told(faults[0]) if faults else status


def _told(fault: OSError) -> int:
    if isinstance(fault, BrokenPipeError):
        return GONE
    said = unwritable("The output cannot be written", fault, "send it elsewhere")
    try:
        print(f"greenbench: {said}", file=sys.stderr, flush=True)
    except OSError:
        _empty(sys.stderr)
    return 2


def _empty(stream: TextIO) -> None:
    """What it still holds goes nowhere, as Python would try it again at its end, and say so."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class _Watched:
    """A stream that remembers its first fault: argparse lets them pass, and Python may hold nothing back."""

    def __init__(self, of: Any) -> None:
        self.of = of
        self.fault: OSError | None = None

    @property
    def stream(self) -> TextIO | None:
        """It, as a stream."""
        return None if self.of is None else cast("TextIO", self)

    def write(self, text: str) -> int:
        return int(self._tried(lambda: self.of.write(text)))

    def flush(self) -> None:
        self._tried(self.of.flush)

    def let_go(self) -> OSError:
        """Its fault, of which nothing more comes."""
        assert self.fault
        _empty(self.of)
        return self.fault

    def _tried(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except OSError as error:
            self.fault = self.fault or error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)
