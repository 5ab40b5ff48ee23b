"""OpenVINO GenAI as an engine: a server of an exported model, in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from greenbench.engines.engine import Ability, Build, Engine, Footprint, Form, Served
from greenbench.engines.openvino import environment, exported
from greenbench.engines.openvino.exported import DTYPES, Job
from greenbench.engines.start import Tell
from greenbench.errors import Unsupported
from greenbench.files import made_once
from greenbench.machine import allowance
from greenbench.models import files, inputs, tensors
from greenbench.paths import cache_dir
from greenbench.schema.enums import Dtype
from greenbench.schema.ranges import require
from greenbench.schema.spec import ModelSpec

if TYPE_CHECKING:
    from greenbench.machine.detect import Machine

FORMAT = 1
"""Of the files that are exported: another one makes them anew."""
HERE = Path(__file__).parent
LANES = 8
"""Requests that may be answered beside each other, at least."""
SHORT = {word: short for short, word in DTYPES.items()}
"""OpenVINO's names of dtypes."""


@dataclass(frozen=True)
class OpenVino(Engine):
    """Serves what OpenVINO's export tool makes of checkpoints, plain or packed by it."""

    name: ClassVar[str] = "openvino"
    summary: ClassVar[str] = "OpenVINO GenAI on a CPU, from an environment of its own"
    forms: ClassVar[frozenset[Form]] = frozenset({"openvino", "safetensors"})
    abilities: ClassVar[frozenset[Ability]] = frozenset({"probe"})

    threads: int | None = None
    """Threads that compute; null: as many as this process may use."""
    context: int = 4096
    """Longest sequence in tokens, where the model knows as many."""
    round_activations: bool = False
    """Let it keep keys and values in 8 bits and, in float32, round activations that meet packed weights to
    8, as OpenVINO does of itself: faster, and not what the weights alone say."""

    def __post_init__(self) -> None:
        if self.threads is not None:
            require(self.threads >= 1, "engine.threads", self.threads, "1 or more, or null")
        require(self.context >= 1, "engine.context", self.context, "1 or more")

    def check(self, machine: Machine) -> None:
        """Its environment must be there; it computes on CPUs here."""
        if machine.device != "cpu":
            raise Unsupported(
                f"engine={self.name} computes on CPUs, and the device is {machine.device}: say device=cpu."
            )
        environment.require_installed(f"engine={self.name}")
        if self.threads is not None:
            most = allowance.threads()
            require(
                self.threads <= most, "engine.threads", self.threads, f"1 to {most} here, or null"
            )

    def check_model(self, spec: ModelSpec, directory: Path, machine: Machine) -> None:
        """A kind that the export tool knows, with keys and values, of which `score_ir` keeps a beginning."""
        from greenbench.engines.transformers.load import config
        from greenbench.engines.transformers.suits import require_decoder

        kind = str(_text(directory).get("model_type"))
        environment.require_kind(f"engine={self.name}", kind, spec.name)
        require_decoder(spec, config(spec, directory))

    def version(self) -> str | None:
        """Of OpenVINO GenAI in its environment."""
        return environment.version(environment.PACKAGES[0])

    def system(self) -> str | None:
        """All that computes there."""
        found = environment.versions().items()
        return ", ".join(f"{name.partition(':')[2]} {number}" for name, number in found) or None

    def room_bytes(self, build: Build) -> int:
        """Its weights, as they are served."""
        if build.form == "openvino":
            return (Path(build.source) / "openvino_model.bin").stat().st_size
        size = {Dtype.float32: 4, Dtype.bfloat16: 2, Dtype.float16: 2}[build.model.dtype]
        return size * tensors.elements(files.weights(Path(build.source)))

    def files(self, build: Build) -> Path:
        """The exported model, made where there is none."""
        return self._exported(build, lambda what, done, total: None)

    @contextmanager
    def serve(self, build: Build, machine: Machine) -> Iterator[Served]:
        """The build's exported model, or the one made of its checkpoint."""
        from greenbench.engines.openvino.scoring import in_one_pass
        from greenbench.engines.openvino.tracing import Traced
        from greenbench.engines.serving.client import Client
        from greenbench.engines.serving.endpoint import Endpoint
        from greenbench.engines.serving.served import Body
        from greenbench.engines.serving.server import Program, started
        from greenbench.engines.transformers.load import load_tokenizer
        from greenbench.engines.transformers.served import HubTokenizer

        directory = self._exported(build, build.start.tell)
        asked = {
            "model": str(directory),
            "properties": self._properties(build) | dict(build.options),
        }
        variables = environment.variables(self._threads())
        serving = asked | {"seats": build.start.seats(LANES)}
        program = Program(
            self.name,
            lambda port: _command("serve_ir.py", serving | {"port": port}),
            variables,
            health="/metrics",
        )
        with ExitStack() as stack:
            server = stack.enter_context(started(program, build.start.log, build.start.tell))
            client = Client(Endpoint(self.name, server.url, alive=server.require_alive))
            stack.callback(client.close)
            plain = load_tokenizer(build.model, build.directory)
            yield Traced(
                client,
                lambda client: in_one_pass(
                    client, LANES, _command("score_ir.py", asked), variables
                ),
                Body(
                    HubTokenizer(plain, build.manner),
                    plain,
                    self._length(build),
                    _footprint(build, directory),
                    build.start.at_once,
                    server.pids,
                ),
                asked,
                variables,
            )

    def _exported(self, build: Build, tell: Tell) -> Path:
        """Once by the checkpoint's content, its dtype and the tool."""
        source = Path(build.source)
        if build.form == "openvino":
            return source
        parts = [*files.weights(source), *source.glob("*.json"), *source.glob("*.jinja")]
        content = inputs.tree({part.name: part for part in parts})
        flags = plain_flags(build.model)
        made_of = [FORMAT, content, flags, environment.versions()]
        key = inputs.key(made_of)[:16]

        def fill(fresh: Path) -> None:
            with TemporaryDirectory(prefix="greenbench-") as beside:
                job = Job(str(source), flags, str(fresh))
                progress = _told(tell)
                exported.export(
                    f"engine={self.name}: {build.model.name}", job, Path(beside), progress
                )

        return made_once(_kept(source) / f"openvino-{key}", fill)

    def _properties(self, build: Build) -> dict[str, object]:
        """As it is told to compute: at the model's dtype where it would round further of itself."""
        short = SHORT[build.model.dtype.value]
        exact = {"KV_CACHE_PRECISION": short, "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
        return {
            "INFERENCE_PRECISION_HINT": short,
            "INFERENCE_NUM_THREADS": self._threads(),
            **({} if self.round_activations else exact),
        }

    def _threads(self) -> int:
        return self.threads or allowance.threads()

    def _length(self, build: Build) -> int:
        """The longest sequence: the knob's, or a request's, as far as the model has positions."""
        known = _text(build.directory).get("max_position_embeddings")
        wanted = max(self.context, build.start.tokens or 0)
        return min(wanted, int(known)) if known else wanted


def plain_flags(model: ModelSpec) -> list[str]:
    """Of the export tool: numbers of 16 bits are float16 there, whichever they were."""
    flags = ["--weight-format", "fp32" if model.dtype is Dtype.float32 else "fp16"]
    return [*flags, *(["--trust-remote-code"] if model.trust_remote_code else [])]


def _text(directory: Path) -> dict[str, Any]:
    """The configuration of the model of text."""
    found: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return dict(found.get("text_config") or found)


def _kept(source: Path) -> Path:
    """Where what is made of a checkpoint is kept: beside one that a run has made, and as long."""
    work = cache_dir() / "work"
    return source.parent if source.is_relative_to(work) else cache_dir() / "openvino"


def _told(tell: Tell) -> Callable[[int, int], None]:
    return lambda done, total: tell("export to OpenVINO", done, total)


def _footprint(build: Build, directory: Path) -> Footprint:
    """By what lies in the exported files."""
    held, layers = exported.held(directory), _text(build.directory).get("num_hidden_layers")
    if build.form == "openvino":
        return Footprint(None, layers, held, "several numbers are packed into one")
    return Footprint(tensors.elements(files.weights(Path(build.source))), layers, held)


def _command(script: str, asked: Mapping[str, object]) -> Sequence[str]:
    return [str(environment.python()), "-I", str(HERE / script), json.dumps(asked)]
