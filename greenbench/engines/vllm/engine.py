"""vLLM as an engine: its server of a checkpoint, in processes of its own."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar

from greenbench.engines.engine import Ability, Build, Engine, Form, Served
from greenbench.engines.vllm import environment, sizes
from greenbench.errors import Unsupported
from greenbench.machine import allowance
from greenbench.models.packing import Packing
from greenbench.schema.enums import Dtype
from greenbench.schema.ranges import require
from greenbench.schema.spec import ModelSpec

if TYPE_CHECKING:
    from greenbench.machine.detect import Machine

GIB = 1 << 30
LANES = 8
"""Texts that are scored beside each other."""
ANSWER = 2
"""Tokens beyond the longest one that is read: the last of a scored text, and one that the server makes."""
LIMIT_S = 1800.0
"""To be ready: a first start compiles for minutes."""
SLEEPS = {"VLLM_SERVER_DEV_MODE": "1"}
"""Without which a server cannot be told to sleep; it listens on loopback only."""
CPU_BITS, CPU_TILE = 4, 32
"""What vLLM's ``CPUWNA16LinearKernel`` takes."""
CUDA_BITS = (4, 8)
BESIDE_BYTES = 2 * GIB
"""Its processes, compiled graphs and activations, of each GPU."""


@dataclass(frozen=True)
class Vllm(Engine):
    """Serves checkpoints, plain or packed as compressed-tensors packs, at the model's reference dtype."""

    name: ClassVar[str] = "vllm"
    summary: ClassVar[str] = "vLLM's server, from an environment of its own"
    forms: ClassVar[frozenset[Form]] = frozenset({"safetensors", "packed"})
    abilities: ClassVar[frozenset[Ability]] = frozenset({"probe"})
    rest_s: ClassVar[float] = (
        1.2  # its worker looks for work without pause for 1 s, with a whole core
    )

    eager: bool = False
    """Compile nothing and keep no CUDA graphs: it starts sooner, and answers more slowly."""
    context: int = 4096
    """Longest sequence in tokens, where the model knows as many."""
    kv_cache_gib: float | None = None
    """Room for keys and values, on all GPUs together; null: what requests in flight need, and 1 at least."""
    threads: int | None = None
    """Threads that compute on a CPU; null: as many as this process may use."""

    round_activations: bool = False
    """On a CPU, let weights of 4 bits meet activations rounded to 8, as vLLM does of itself where there is
    AMX: faster, and not what the weights alone say."""

    def __post_init__(self) -> None:
        require(self.context > ANSWER, "engine.context", self.context, f"more than {ANSWER}")
        if self.kv_cache_gib is not None:
            room = self.kv_cache_gib
            require(room > 0, "engine.kv_cache_gib", room, "more than 0, or null")
        if self.threads is not None:
            require(self.threads >= 1, "engine.threads", self.threads, "1 or more, or null")

    def check(self, machine: Machine) -> None:
        """Its environment must be there, and be for this device."""
        environment.require_installed(machine.device)
        if self.threads is not None:
            most = allowance.threads()
            require(
                self.threads <= most, "engine.threads", self.threads, f"1 to {most} here, or null"
            )
        if machine.device == "cpu" and not self.eager:
            environment.require_compiler()

    def check_model(self, spec: ModelSpec, directory: Path, machine: Machine) -> None:
        """It knows the shape of what it serves."""
        if sizes.shape(directory) is None and self.kv_cache_gib is None:
            raise Unsupported(
                f"Model {spec.name} does not say how many keys and values it keeps, which engine=vllm "
                "reserves: say engine.kv_cache_gib."
            )

    def lacks(
        self, packing: Packing, shapes: Iterable[tuple[int, int]], dtype: Dtype, machine: Machine
    ) -> str | None:
        """It has one kernel for packed integers on a CPU, and several on CUDA."""
        if machine.device != "cpu":
            return None if packing.bits in CUDA_BITS else "it has kernels for 4 and 8 bits"
        if packing.bits != CPU_BITS:
            return f"its kernel for CPUs is for {CPU_BITS} bits"
        if dtype is Dtype.float32:
            return "its kernel for CPUs is for bfloat16 and float16"
        if packing.group % 2:
            return "its kernel for CPUs is for groups of an even number"
        if any(size % CPU_TILE for shape in shapes for size in shape):
            return f"its kernel for CPUs is for layers with multiples of {CPU_TILE} on both sides"
        return None

    def flags(self, options: Mapping[str, object]) -> list[str]:
        """As its command line has them."""
        return [shlex.join(_flag(name, value)) for name, value in options.items()]

    def version(self) -> str | None:
        """Of vLLM in its environment."""
        return environment.version(*environment.PACKAGES.values())

    def system(self) -> str | None:
        """Which build of it, and the torch beside it."""
        found = {
            name: environment.version(name) for name in (*environment.PACKAGES.values(), "torch")
        }
        return ", ".join(f"{name} {number}" for name, number in found.items() if number) or None

    def room_bytes(self, build: Build) -> int:
        """Its weights, keys and values as they are reserved, and what is beside them, on all its GPUs."""
        held = sizes.footprint(build).held_bytes or 0
        return held + build.gpus * (self._kv_cache_bytes(build, build.gpus) + BESIDE_BYTES)

    def sleeps(self, machine: Machine) -> bool:
        """On CUDA; a CPU's worker has no such mode."""
        return machine.device == "cuda"

    @contextmanager
    def serve(self, build: Build, machine: Machine) -> Iterator[Served]:
        """The build's checkpoint."""
        from greenbench.engines.serving.client import Client
        from greenbench.engines.serving.endpoint import Endpoint
        from greenbench.engines.serving.scoring import ByPrompt
        from greenbench.engines.serving.served import Body
        from greenbench.engines.serving.server import Program, started
        from greenbench.engines.transformers.load import load_tokenizer
        from greenbench.engines.transformers.served import HubTokenizer
        from greenbench.engines.vllm.sleeping import Sleeping
        from greenbench.engines.vllm.tracing import Traced

        variables = (
            environment.variables(machine.device, self.threads or allowance.threads())
            | (SLEEPS if build.start.sleeps else {})
            | {"VLLM_CPU_INT4_W4A8": str(int(self.round_activations))}
        )
        with ExitStack() as stack:
            traces = None
            if build.start.traced:
                traces = Path(stack.enter_context(TemporaryDirectory(prefix="greenbench-")))
            arguments = self._arguments(build, machine, traces)
            program = Program(
                self.name,
                lambda port: [*arguments, "--port", str(port)],
                variables,
                limit_s=LIMIT_S,
            )
            server = stack.enter_context(started(program, build.start.log, build.start.tell))
            counted: Mapping[str, object] = {"return_token_ids": True}  # of each chunk
            client = Client(
                Endpoint(
                    self.name, server.url, extra=lambda place: counted, alive=server.require_alive
                )
            )
            stack.callback(client.close)
            plain = load_tokenizer(build.model, build.directory)
            served = Sleeping if build.start.sleeps else Traced
            yield served(
                client,
                lambda client: ByPrompt(client, LANES),
                Body(
                    HubTokenizer(plain, build.manner),
                    plain,
                    self._length(build) - ANSWER,
                    sizes.told(build),
                    build.start.at_once,
                    server.pids,
                ),
                traces,
                on_gpu=machine.device == "cuda",
            )

    def _arguments(self, build: Build, machine: Machine, traces: Path | None = None) -> list[str]:
        """Its command line but for the port. Started as a module: its console script asks for the metadata
        of a package of another name than vllm-cpu's."""
        from greenbench.engines.vllm.tracing import option

        gpus = max(1, len(machine.uuids))
        options: dict[str, object] = {
            "model": str(build.source),
            "tokenizer": str(build.directory),
            "host": "127.0.0.1",
            "dtype": build.model.dtype.value,
            "max_model_len": self._length(build),
            "max_num_seqs": build.start.seats(LANES),
            "kv_cache_memory_bytes": self._kv_cache_bytes(build, gpus),  # of each
            "enforce_eager": self.eager,
            "enable_prefix_caching": False,  # no request profits from an earlier one
            "override_generation_config": {"repetition_penalty": 1.0},  # a maker's changes answers
            "trust_remote_code": build.model.trust_remote_code,
        }
        if machine.device == "cuda":  # what must be free at its start, where two share the GPU
            share = self.room_bytes(replace(build, gpus=gpus)) / machine.memory_bytes
            options |= {
                "gpu_memory_utilization": round(min(0.9, share), 4),
                "tensor_parallel_size": gpus,
            }
        if build.start.sleeps:
            options["enable_sleep_mode"] = True
        if traces:
            options["profiler_config"] = option(traces)
        words = (_flag(*each) for each in (options | dict(build.options)).items())
        module = "vllm.entrypoints.openai.api_server"
        return [
            str(environment.python()),
            "-I",
            "-m",
            module,
            *(word for each in words for word in each),
        ]

    def _length(self, build: Build) -> int:
        """The longest sequence: the knob's, or a request's, as far as the model has positions."""
        known = sizes.text(Path(build.source)).get("max_position_embeddings")
        wanted = max(self.context, build.start.tokens or 0)
        return min(wanted, int(known)) if known else wanted

    def _kv_cache_bytes(self, build: Build, gpus: int) -> int:
        """Of each GPU. Enough for all requests in flight at their whole length, as else some would wait."""
        if self.kv_cache_gib is not None:
            return int(self.kv_cache_gib * GIB / gpus)
        length = self._length(build)
        tokens = max(length, build.start.at_once * min(build.start.tokens or length, length))
        numbers = sum(sizes.shape(place, gpus) or 0 for place in sizes.places(build))
        need = (
            1.25 * tokens * numbers * sizes.BYTES[build.model.dtype]
        )  # blocks are not filled to their end
        return max(GIB // gpus, ceil(need))


def _flag(name: str, value: object) -> list[str]:
    """An option as its command line has it."""
    flag = name.replace("_", "-")
    match value:
        case bool():
            return [f"--{flag}" if value else f"--no-{flag}"]
        case Mapping():
            return [f"--{flag}", json.dumps(value)]
    return [f"--{flag}", str(value)]
