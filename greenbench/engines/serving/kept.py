"""A program of ours in processes of its own: started, watched, and ended whatever ends us."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from greenbench.engines.serving import journal, keeper
from greenbench.errors import EngineFault

PAUSE_S = 0.2
"""Between two looks at whether a program has ended."""
GRACE_S = 3.0
"""A program has so long to end by itself."""
TAIL_BYTES = 8192
NO_MEMORY = re.compile(r"out of memory|not enough memory|failed to allocate|bad_alloc", re.I)
TELLING = re.compile(r"error|exception|fail|cannot|can't|abort|out of memory", re.I)
FIRST_OF_LOG = re.compile(
    r"^[\d.:,\s\[\]-]*(?:[A-Z]\s+)?"
)  # time and level, as llama.cpp writes them


class Kept:
    """A program that was started, and the processes it is."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path | None
    ) -> None:
        """Start `command`, `environment` beside that of this process, with its output in `log`."""
        self._log = log
        self._from_byte = log.stat().st_size if log is not None and log.exists() else 0
        keeping = [sys.executable, "-I", "-S", keeper.__file__, str(log or os.devnull)]
        self._keeper = subprocess.Popen(
            [*keeping, str(GRACE_S), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | dict(environment),
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        first = self._keeper.stdout.readline()
        self._pid = int(first) if first.strip().isdigit() else None
        self._note = journal.Note(self._pid)
        self.note()

    def note(self) -> None:
        """Keep its processes in the journal, as they are by now."""
        self._note.write(sorted({self._keeper.pid, *self.pids()}))

    def pids(self) -> frozenset[int]:
        """The program's processes."""
        found: set[int] = set()
        if self._pid is not None:
            with suppress(psutil.Error):
                process = psutil.Process(self._pid)
                found = {self._pid, *(child.pid for child in process.children(recursive=True))}
        return frozenset(found)

    def ended(self) -> int | None:
        """Its exit code, 128 and more for a signal; null while it runs."""
        return self._keeper.poll()

    def close(self) -> None:
        """End all of it, and wait until it is gone."""
        assert self._keeper.stdin is not None
        pids = self.pids()
        self._keeper.stdin.close()
        try:
            self._keeper.wait(GRACE_S + 10)
        except subprocess.TimeoutExpired:
            for pid in (self._keeper.pid, *pids):
                with suppress(psutil.Error):
                    psutil.Process(pid).kill()
            self._keeper.wait()
        for stream in (self._keeper.stdout, self._keeper.stderr):
            if stream is not None:
                stream.close()
        self._note.remove()

    def tail(self) -> str:
        """The end of what it has written."""
        if self._log is None:
            return ""
        with suppress(OSError), self._log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(self._from_byte, size - TAIL_BYTES))
            return stream.read().decode(errors="replace")
        return ""

    def had_no_memory(self) -> bool:
        """Whether its end looks like that: the kernel's signal, or what it has written."""
        return self.ended() == 128 + 9 or bool(NO_MEMORY.search(self.tail()))

    def end(self) -> str:
        """How it ended, and the last line of its log that tells something."""
        code = self.ended() or 0
        how = f"signal {code - 128}" if code > 128 else f"exit code {code}"
        lines = [FIRST_OF_LOG.sub("", line).strip() for line in self.tail().splitlines()]
        if self._pid is None and self._keeper.stderr is not None:  # it could not even be started
            lines += self._keeper.stderr.read().decode(errors="replace").splitlines()
        telling = [line for line in lines if TELLING.search(line)] or [
            line for line in lines if line
        ]
        return f"{how}: {telling[-1][:200]}" if telling else how


def finished(program: Kept, tell: Callable[[], None], why: Callable[[str], str]) -> None:
    """Wait until `program`, which does one thing, has done it; `tell` is called meanwhile. It is closed then.

    Raises EngineFault, or MemoryError where it had no memory: `why` makes a sentence of how it ended.
    """
    try:
        while program.ended() is None:
            tell()
            time.sleep(PAUSE_S)
        if program.ended():
            sentence = why(program.end().rstrip(". "))
            raise MemoryError(sentence) if program.had_no_memory() else EngineFault(sentence)
    finally:
        program.close()
