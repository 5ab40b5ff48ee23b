"""What a run reads and computes with, said once for its key and for every cache: content and versions."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from blake3 import blake3

from greenbench import __version__
from greenbench.errors import UserError
from greenbench.files import write_atomically
from greenbench.paths import cache_dir

COMPUTING = (
    "accelerate", "compressed-tensors", "datasets", "Jinja2", "kernels", "lm-eval", "numpy", "peft",
    "safetensors", "sentencepiece", "tiktoken", "tokenizers", "torch", "transformers",
)  # fmt: skip
"""Packages that compute in every run, or would if they were installed."""
LARGE_BYTES = 1 << 20  # below, reading is as fast as asking what is known
SETTLED_NS = 2_000_000_000  # no file system's clock is coarser


def key(value: Any) -> str:
    """BLAKE3 of JSON-able `value`, in hex (64 digits)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return blake3(text.encode()).hexdigest()


def packages(more: Iterable[str] = ()) -> dict[str, str]:
    """Versions of Python, GreenBench, and those of `COMPUTING` and `more` that are installed."""
    found = {"python": platform.python_version(), "greenbench": __version__}
    for name in (*COMPUTING, *more):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def plugins(*parts: Any) -> dict[str, str]:
    """By package of each plug-in that one of `parts`, techniques and engines, is of: its code's hash.

    A version says too little: who writes one changes it between two runs. GreenBench's own code is
    known by its version alone, as a comment in it must not measure a sweep again.
    """
    modules = {type(part).__module__ for part in parts if part is not None}
    code = {module.partition(".")[0]: _code(module) for module in sorted(modules)}
    return {package: tree(files) for package, files in code.items() if files}


def _code(module: str) -> dict[str, Path]:
    """The Python files of the package that `module` is in, or the one file that it is."""
    top, *inner = module.split(".")
    file = getattr(sys.modules[module], "__file__", None)
    if top == "greenbench" or file is None:
        return {}
    if not inner and Path(file).name != "__init__.py":
        return {top: Path(file)}
    depth = len(inner) - (Path(file).name != "__init__.py")
    root = Path(file).parents[depth]
    return {str(path.relative_to(root)): path for path in root.rglob("*.py")}


def tree(files: Mapping[str, Path]) -> str:
    """Hash of the content of `files`, by the names that matter: where they lie does not."""
    return key({name: digest(path) for name, path in files.items()})


def digest(path: Path) -> str:
    """BLAKE3 of a file's whole content, in hex; a large one is read again only after a change.

    Raises UserError where it cannot be read, or is written to meanwhile.
    """
    try:
        place, before = path.resolve(strict=True), _state(path)
        large = before[0] >= LARGE_BYTES
        found = _known(place, before) if large else None
        if found is None:
            began_ns = time.time_ns()
            found = blake3(max_threads=blake3.AUTO).update_mmap(place).hexdigest()
            if _state(path) != before:
                raise UserError(f"{path} is being written to: run again once it is whole.")
            if large and began_ns - max(before[1:3]) > SETTLED_NS:  # a change may keep fresh times
                _remember(place, before, found)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error}): fetch or save it again, or give "
            "yourself the right to read it."
        ) from error
    return found


def _state(path: Path) -> list[int]:
    """What differs once a file has changed. Its times of change cannot be set back."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def _note(place: Path) -> Path:
    """Where the digest of the file `place` is kept."""
    return cache_dir() / "digests" / f"{blake3(os.fsencode(place)).hexdigest()[:32]}.json"


def _known(place: Path, state: list[int]) -> str | None:
    """The digest of the file in this state; null where it is not known."""
    with suppress(OSError, ValueError):
        seen = json.loads(_note(place).read_bytes())
        if isinstance(seen, list) and seen[:-1] == state:
            return str(seen[-1])
    return None


def _remember(place: Path, state: list[int], digest: str) -> None:
    with suppress(OSError):  # without a place to keep it, it is read again
        _note(place).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_note(place), json.dumps([*state, digest]).encode(), durable=False)
