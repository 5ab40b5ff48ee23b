"""llama.cpp as an engine: its server of a GGUF file, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar

from greenbench.engines.engine import Ability, Build, Engine, Form, Served
from greenbench.errors import Unsupported, UserError
from greenbench.files import made_once
from greenbench.machine import allowance
from greenbench.models import files, inputs
from greenbench.paths import cache_dir
from greenbench.schema.enums import Dtype
from greenbench.schema.ranges import require
from greenbench.schema.spec import ModelSpec

if TYPE_CHECKING:
    from greenbench.machine.detect import Machine

FORMAT = 1
"""Of the files that are converted: another one makes them anew."""
PACKAGE = "xllamacpp"
SERVE = Path(__file__).with_name("serve_gguf.py")
LANES = 8
"""Texts that are scored beside each other."""
MEASURED: dict[str, object] = {"cache_prompt": False, "timings_per_token": True}
"""No request may profit from an earlier one, and each chunk says how many tokens there are by then."""

UNTRACED = (
    "llama.cpp's server tells how long a prompt and an answer take, and nothing of its operators"
)


@dataclass(frozen=True)
class LlamaCpp(Engine):
    """Serves GGUF files, and checkpoints of safetensors converted to the model's reference dtype."""

    name: ClassVar[str] = "llama_cpp"
    summary: ClassVar[str] = "llama.cpp's server, from a wheel for CPUs"
    forms: ClassVar[frozenset[Form]] = frozenset({"gguf", "safetensors"})
    abilities: ClassVar[frozenset[Ability]] = frozenset({"probe"})

    threads: int | None = None
    """Threads that compute; null: as many as this process may use."""
    context: int = 4096
    """Longest sequence in tokens, where the model knows as many."""

    def __post_init__(self) -> None:
        if self.threads is not None:
            require(self.threads >= 1, "engine.threads", self.threads, "1 or more, or null")
        require(self.context >= 1, "engine.context", self.context, "1 or more")

    def check(self, machine: Machine) -> None:
        """The wheel must be there; it computes on CPUs, of which more threads would wait for each other."""
        if find_spec(PACKAGE) is None:
            raise Unsupported(
                f"engine={self.name} needs the package {PACKAGE}, which is not installed: "
                f"pip install {PACKAGE}"
            )
        if machine.device != "cpu":
            raise Unsupported(
                f"engine={self.name} computes on CPUs, and the device is {machine.device}: say device=cpu."
            )
        if self.threads is not None:
            most = allowance.threads()
            require(
                self.threads <= most, "engine.threads", self.threads, f"1 to {most} here, or null"
            )

    def check_model(self, spec: ModelSpec, directory: Path, machine: Machine) -> None:
        """A kind and a tokenizer that can be written as GGUF."""
        from greenbench.engines.llama_cpp.gguf_writer import model_shape

        model_shape(directory, spec.name)

    def version(self) -> str | None:
        """Of the wheel."""
        return metadata.version(PACKAGE) if find_spec(PACKAGE) else None

    def system(self) -> str | None:
        """The instructions that it was built for."""
        code = f"import {PACKAGE}; print({PACKAGE}.get_system_info())"
        asked = subprocess.run(
            [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
        )
        return asked.stdout.strip() or None

    def room_bytes(self, build: Build) -> int:
        """Its weights, as they are served."""
        if build.form == "gguf":
            return Path(build.source).stat().st_size
        from greenbench.models import tensors

        size = {Dtype.float32: 4, Dtype.bfloat16: 2, Dtype.float16: 2}[build.model.dtype]
        return size * tensors.elements(files.weights(Path(build.source)))

    @contextmanager
    def serve(self, build: Build, machine: Machine) -> Iterator[Served]:
        """The build's GGUF file, or the one made of its checkpoint."""
        from greenbench.engines.llama_cpp.gguf_header import header
        from greenbench.engines.llama_cpp.scoring import ByForce, in_one_pass
        from greenbench.engines.serving.client import Client
        from greenbench.engines.serving.endpoint import Endpoint
        from greenbench.engines.serving.served import Body, FromServer
        from greenbench.engines.serving.server import Program, started
        from greenbench.engines.transformers.load import load_tokenizer
        from greenbench.engines.transformers.served import HubTokenizer

        file = self.files(build)
        known = header(file)
        tokens = min(max(self.context, build.start.tokens or 0), known.context)
        slots = build.start.seats(LANES)
        each = min(build.start.tokens or tokens, tokens)
        context = max(tokens, build.start.at_once * each)
        with ExitStack() as stack:
            folder = stack.enter_context(TemporaryDirectory(prefix="greenbench-"))
            asked = {
                "model": str(file),
                "threads": self.threads or allowance.threads(),
                "slots": slots,
                "context": context,
                "folder": f"{folder}/",
            }
            reading = {name: asked[name] for name in ("model", "threads", "context")}
            program = Program(self.name, lambda port: _command(asked, port))
            server = stack.enter_context(started(program, build.start.log, build.start.tell))
            client = Client(
                Endpoint(self.name, server.url, extra=_beside, alive=server.require_alive)
            )
            stack.callback(client.close)
            plain = load_tokenizer(build.model, build.directory)
            yield FromServer(
                client,
                lambda client: in_one_pass(ByForce(client, slots, context), reading),
                Body(
                    HubTokenizer(plain, build.manner),
                    plain,
                    tokens,
                    known.footprint(),
                    build.start.at_once,
                    server.pids,
                    UNTRACED,
                ),
            )

    def files(self, build: Build) -> Path:
        """The GGUF file to serve, made where there is none."""
        if "file" in build.options:
            return self._given(build)
        if build.form == "gguf":
            return Path(build.source)
        from greenbench.engines.llama_cpp.gguf_writer import convert

        source, dtype = Path(build.source), build.model.dtype
        parts = [*files.weights(source), *source.glob("*.json")]
        content = inputs.tree({part.name: part for part in parts})
        key = inputs.key([FORMAT, content, dtype.value, inputs.packages(["gguf"])])[:16]
        folder = made_once(
            _kept(source) / f"gguf-{key}",
            lambda fresh: convert(source, dtype, build.model.name, fresh / "model.gguf"),
        )
        return folder / "model.gguf"

    def _given(self, build: Build) -> Path:
        """The file that an option names in place of the model's weights."""
        if build.source != build.directory:
            raise UserError(
                "technique=gguf_file takes the place of the model, so that what other techniques change is "
                "lost: leave them out."
            )
        given = build.options["file"]
        return Path(str(given)).expanduser() if given else files.gguf(build.model)


def _kept(source: Path) -> Path:
    """Where what is made of a checkpoint is kept: beside one that a run has made, and as long."""
    work = cache_dir() / "work"
    return source.parent if source.is_relative_to(work) else cache_dir() / "gguf"


def _beside(place: int | None) -> dict[str, object]:
    """What a request says beside the usual; one without a place takes the first slot that is free."""
    return MEASURED if place is None else {**MEASURED, "id_slot": place}


def _command(asked: Mapping[str, object], port: int) -> list[str]:
    return [sys.executable, "-I", str(SERVE), json.dumps({**asked, "port": port})]
