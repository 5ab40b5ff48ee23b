"""A GGUF file that is there already, in place of one made of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from greenbench.engines.engine import Engine
from greenbench.engines.llama_cpp.gguf_header import header
from greenbench.errors import Unsupported, UserError
from greenbench.models import inputs
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import EngineOption

if TYPE_CHECKING:
    from greenbench.machine.detect import Machine


@dataclass(frozen=True)
class GgufFile(EngineOption):
    """Serve a GGUF file that is there already, such as one that llama-quantize made of the model."""

    name: ClassVar[str] = "gguf_file"
    summary: ClassVar[str] = "a GGUF file of yours, or the data wheel's own, as it is"

    path: str | None = None
    """Of the file; null: the one that the model's data wheel holds."""

    def check(self, machine: Machine, engine: Engine) -> None:
        """The engine must take such files, and the file be one."""
        super().check(machine, engine)
        if self.path is not None:
            header(Path(self.path).expanduser())

    def label(self) -> str:
        """With the file's name alone, as the place is private."""
        return self.name if self.path is None else f"{self.name}({Path(self.path).name})"

    def promise(self) -> Promise:
        """What the file holds is read when it is served."""
        return Promise(note="the file's own types, as it is")

    def options(self, engine: str) -> Mapping[str, object]:
        """The file, in place of one made of the model."""
        if engine != "llama_cpp":
            raise Unsupported(
                f"technique={self.name} gives a GGUF file, which engine={engine} does not take: use "
                "engine=llama_cpp."
            )
        return {"file": self.path}

    def disclosed(self) -> dict[str, Any]:
        """The file by its name and content hash."""
        if self.path is None:
            return {}
        file = Path(self.path).expanduser()
        if not file.is_file():
            raise UserError(
                f"technique.gguf_file.path={self.path} is no file: give that of a GGUF file."
            )
        return {"path": f"{file.name}@{inputs.digest(file)}"}
