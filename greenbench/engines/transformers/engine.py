"""transformers, in this process."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from greenbench.engines.engine import Build, Engine, Form, Served

if TYPE_CHECKING:
    from greenbench.machine.detect import Machine


@dataclass(frozen=True)
class Transformers(Engine):
    """Hugging Face transformers in the process of the run."""

    name: ClassVar[str] = "transformers"
    summary: ClassVar[str] = "Hugging Face transformers, in the process of the run"
    forms: ClassVar[frozenset[Form]] = frozenset({"module", "safetensors"})

    def room_bytes(self, build: Build) -> int:
        """Not yet."""
        raise NotImplementedError

    def serve(self, build: Build, machine: Machine) -> AbstractContextManager[Served]:
        """Not yet."""
        raise NotImplementedError
