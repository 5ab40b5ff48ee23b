"""Grading that runs code a model has written: in a process without network, with limits of time and memory.

It shuts itself off before it reads anything of the model's (Linux namespaces, user_namespaces(7)). That keeps
mistakes in; whoever expects malice runs the whole benchmark in a virtual machine.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from greenbench.errors import UserError
from greenbench.schema.spec import TaskSpec

MEMORY_BYTES: Final = 16 << 30
"""Of addresses, which torch alone reserves several GiB of without using them."""
FILE_BYTES: Final = 64 << 20
"""Of any file that the code writes."""
START_S, ITEM_S = 120.0, 20.0
"""Time to load the tasks, and for each item."""
NEW_USER, NEW_PID, NEW_NET = 0x10000000, 0x20000000, 0x40000000  # linux/sched.h
CONSENT: Final = "HF_ALLOW_CODE_EVAL"
"""Unless it is 1, HF's `evaluate` refuses to grade code, which lm-eval's tasks try when they are loaded."""
OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    CONSENT: "1",
    "OMP_NUM_THREADS": "1",
}
CANNOT: Final = 41
"""Exit code of a process that could not shut itself off."""
REFUSED: Final = (
    "task.allow_code_execution=true needs a process that is shut off from the network, and this machine lets "
    "none be (unshare is refused): allow user namespaces, or choose other tasks."
)


@contextmanager
def consenting(consents: bool) -> Iterator[None]:
    """Within this context what asks for `CONSENT` has it, if the user `consents`; else nothing changes."""
    if not consents:
        yield
        return
    before = os.environ.get(CONSENT)
    os.environ[CONSENT] = "1"
    try:
        yield
    finally:
        del os.environ[CONSENT]
        if before is not None:
            os.environ[CONSENT] = before


def graded(spec: TaskSpec, texts: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
    """What `generated.graded_here` returns, found in a process of its own.

    Raises UserError where this machine lets no process shut itself off, or where the time is over.
    """
    items = sum(map(len, texts.values()))
    with tempfile.TemporaryDirectory(prefix="greenbench-") as folder:
        place = Path(folder)
        (place / "asked").write_bytes(pickle.dumps((spec, {k: list(v) for k, v in texts.items()})))
        said = place / "said"
        most_s = START_S + ITEM_S * items
        with said.open("wb") as log:
            code = in_time(_command(folder), most_s, env=_environment(), stdout=log, stderr=log)
        if code is None:
            raise UserError(
                f"The code of {items} answers was not through after {most_s:.0f} s: ask fewer items."
            )
        if code == CANNOT:
            raise UserError(REFUSED)
        if code:
            last = (said.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[
                -1
            ]
            raise UserError(f"Grading the code of answers failed (exit code {code}: {last[:200]}).")
        found: dict[str, list[Any]] = json.loads((place / "graded").read_text())
    return found


def require() -> None:
    """Raise UserError where this machine lets no process shut itself off."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if in_time(_command(), START_S, env=_environment(), **silent) == CANNOT:
        raise UserError(REFUSED)


def _command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", __name__, *words]


def _environment() -> dict[str, str]:
    return os.environ | OFFLINE | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def in_time(command: Sequence[str], seconds: float, **how: Any) -> int | None:
    """Exit code of a program; null where it takes longer: then it is ended with all that it has started."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, **how
    ) as started:
        try:
            return started.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)


def shut_off() -> bool:
    """Leave the network, for good; whether that was possible. Must be called before there are threads.

    What is forked next is the first process of a world of its own, which ends with it.
    """
    library = ctypes.CDLL(None, use_errno=True)
    return any(library.unshare(flags | NEW_PID) == 0 for flags in (NEW_NET, NEW_USER | NEW_NET))


def limit() -> None:
    """Of memory and files, for each process that it starts and itself."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))


def main(folder: str | None = None) -> int:
    """The process itself; without a folder it only tries."""
    if not shut_off():
        return CANNOT
    if folder is None:
        return 0
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    from greenbench.quality.generated import graded_here

    place = Path(folder)
    spec, texts = pickle.loads((place / "asked").read_bytes())  # which the run has written
    limit()
    (place / "graded").write_text(json.dumps(graded_here(spec, texts, place)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
