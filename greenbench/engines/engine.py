"""What runs a model: the one thing that measuring, scoring and running know of it.

Imports no framework. An engine is one file with one class in it, found as techniques are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self, TypeVar

from greenbench.engines.query import Nearness, Said, Seen
from greenbench.engines.start import Start
from greenbench.engines.tokenizer import Manner, Tokenizer
from greenbench.schema.enums import Dtype, Stop
from greenbench.schema.spec import ModelSpec

if TYPE_CHECKING:
    from lm_eval.api.model import LM

    from greenbench.engines.cascade import Behind
    from greenbench.engines.writing import Ask, Written
    from greenbench.machine.detect import Machine
    from greenbench.models.packing import Packing

Form = Literal["module", "safetensors", "packed", "gguf", "openvino", "url"]
"""What a model can be handed over as: a live torch module, files of one of four kinds, or a server."""
Ability = Literal["logits", "probe"]
"""What not every engine can: ``logits`` of whole texts, for the nearness to the baseline. One with ``probe``
computes elsewhere with the weights of the build, so that a known text shows whether it truly does."""
T = TypeVar("T")


class Request(NamedTuple):
    """One prompt, and how long its answer may be."""

    tokens: tuple[int, ...]
    new_tokens: int
    """Exactly so many, or at most where the model itself may stop."""
    stop: Stop = Stop.fixed
    cut: bool = False
    """Whether it or its answer is not as long as its user would have had it: it was longer, or shorter, than
    any that is asked."""
    sure: bool = False
    """Whether the answer is to tell how sure the model is of it."""


class Completion(NamedTuple):
    """What became of one request. Times are seconds of ``time.perf_counter``."""

    tokens: int
    """Really generated, padding excluded."""
    prompt_tokens: int
    sent_s: float
    stamps_s: tuple[float, ...]
    """When each token came."""
    done_s: float
    confidence: float | None = None
    """How sure the model is of it, where that was asked for: see `query.confidence`."""

    @property
    def seconds(self) -> float:
        """From its sending to its end."""
        return self.done_s - self.sent_s

    @property
    def ttft_s(self) -> float:
        """Seconds to the first token."""
        return self.stamps_s[0] - self.sent_s

    @property
    def gaps_s(self) -> list[float]:
        """Seconds between successive tokens."""
        pairs = zip(self.stamps_s, self.stamps_s[1:], strict=False)
        return [later - earlier for earlier, later in pairs]


class Queue(NamedTuple):
    """What a server says of the requests that it has."""

    running: float
    """Being answered."""
    waiting: float
    """Not yet."""


class Line(Protocol):
    """A way to ask that may be used by many requests at the same time, within `Served.converse`."""

    async def ask(self, request: Request, came: list[float] | None = None) -> Completion:
        """One answer. Raises EngineFault, in one sentence, where there is none.

        Of one that fails or is given up, the moments at which tokens came are added to `came`, as far as
        they are known.
        """

    async def queue(self) -> Queue | None:
        """How busy the server is; null where it does not tell."""


class Footprint(NamedTuple):
    """How large a model is as it is served; null with a reason where the engine cannot tell."""

    parameters: int | None
    layers: int | None
    bytes_by_dtype: Mapping[str, int] | None
    reason: str | None = None

    @property
    def held_bytes(self) -> int | None:
        """All of them."""
        return None if self.bytes_by_dtype is None else sum(self.bytes_by_dtype.values())


@dataclass(frozen=True)
class Build:
    """What techniques leave and engines take; nothing runs yet."""

    model: ModelSpec
    form: Form
    source: Any
    """A live module, the path of a file or directory, or a URL."""
    directory: Path
    """The plain model's files, its tokenizer among them."""
    options: Mapping[str, object] = field(default_factory=dict)
    """The engine's own option names."""
    loop: Callable[..., Any] | None = None
    """Generates in place of the module's ``generate``, as drafting and exits do; "module" only."""
    uncompiled: str | None = None
    """Why its techniques do not let it be compiled, after their name; null: they do."""
    scored_whole: bool = False
    """The forward pass depends on the cache: no beginning may be shared when scoring; "module" only."""
    hold: Callable[[], AbstractContextManager[object]] = nullcontext
    """What must hold while it runs, and not while the baseline does."""
    manner: Manner = field(default_factory=Manner)
    """How it is asked to answer in words."""
    gpus: int = 1
    """That the run spreads it over."""
    behind: Behind | None = None
    """What is asked where this one is not sure; null: it answers alone."""
    start: Start = field(default_factory=Start)
    """For engines that start a program."""
    expected: Said | None = None
    """What these weights say of the probe's texts in process; null: not known."""


class Observed(Protocol):
    """What a window looks at while something runs."""

    def synchronize(self) -> None:
        """Wait until the device has done all that it was asked."""

    def reset_peaks(self) -> None:
        """Start new high-water marks of the device's memory."""

    def device_peak_bytes(self) -> int | None:
        """Most bytes held on the device since the reset; null where there is no mark."""

    def pids(self) -> frozenset[int] | None:
        """The processes that do its work, this one aside: never another's load, and their CPU time
        counts. Where there are any, the run's memory is theirs alone. Null: not to be seen from here."""


class Served(Observed, Protocol):
    """A model that answers."""

    max_tokens: int | None
    """Longest sequence it takes; null: no limit."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's."""

    def complete(self, batch: Sequence[Request]) -> list[Completion]:
        """Answer all of `batch` at once, greedily; one completion for each request, in order."""

    def converse(self, talk: Callable[[Line], Awaitable[T]]) -> T:
        """What `talk` returns, which asks as it likes, many at the same time. Not while `complete` runs.

        What answers one at a time answers them in the order in which they came.
        """

    def write(self, asks: Sequence[Ask]) -> list[Written]:
        """Answer all of `asks` at once, in words; one answer for each, in order."""

    def language_model(self, done: Callable[[], None], reference: Seen | None) -> LM:
        """It, as lm-eval asks it; `done` is called after each request.

        What it predicts on whole texts is compared with `reference`, or else kept.
        """

    def nearness(self) -> tuple[Seen | None, list[Nearness]]:
        """What was kept and found since the last `language_model`; both empty without ``logits``."""

    def footprint(self) -> Footprint:
        """Its size."""


class Sleeper(Served, Protocol):
    """A model that can give the device's memory back without being ended."""

    def sleep(self) -> None:
        """Give it back, and return once that is done."""

    def wake(self) -> None:
        """Take it again, and return once it can answer as before."""


class Engine(ABC):
    """Base of all engines; a subclass is a frozen dataclass whose fields are its knobs.

    A knob stands in the configuration as ``engine.KNOB``, and in the record.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """What it is, in a few words."""
    forms: ClassVar[frozenset[Form]]
    """What it takes."""
    abilities: ClassVar[frozenset[Ability]] = frozenset()
    keeps_prompts: ClassVar[bool] = False
    """Whether what it has once been asked may make the same prompt cheaper later."""
    rest_s: ClassVar[float] = 0.0
    """After its last answer its program computes on for so long, for nobody: the other model waits."""

    def check(self, machine: Machine) -> None:  # noqa: B027  # some run anywhere
        """Raise Unsupported, in one sentence with the remedy, where it cannot run. Loads nothing."""

    def check_model(self, spec: ModelSpec, directory: Path, machine: Machine) -> None:  # noqa: B027
        """Raise UserError or Unsupported, in one sentence, where it cannot run the model whose files lie
        in `directory`. Reads no weights."""

    def lacks(
        self, packing: Packing, shapes: Iterable[tuple[int, int]], dtype: Dtype, machine: Machine
    ) -> str | None:
        """Why it cannot multiply `dtype` by layers of `shapes` (outputs, inputs) packed so; null: it can."""
        return None

    def files(self, build: Build) -> Path:
        """What it reads of a build that is no live module and no server: a directory or a file."""
        return Path(build.source)

    def flags(self, options: Mapping[str, object]) -> list[str]:
        """Options of its own as a user says them who starts it."""
        return [f"{name}={value}" for name, value in options.items()]

    def version(self) -> str | None:
        """Of the program, for the record and `doctor`; null where it has none."""
        return None

    def elsewhere(self) -> str | None:
        """Why no meter of this machine counts its joules; null: they do."""
        return None

    def unseen(self) -> str | None:
        """Why the CPU time of its processes is not known here, so that no joules come of it; null: it is."""
        return None

    def system(self) -> str | None:
        """What it says of the machine as it uses it, for the record; null: nothing."""
        return None

    def sleeps(self, machine: Machine) -> bool:
        """Whether what it serves is a `Sleeper`: where two models do not fit, the one that waits sleeps."""
        return False

    def settled(
        self, spec: ModelSpec, machine: Machine, uncompiled: str | None, *, of_reference: bool
    ) -> Sequence[Self]:
        """Itself with every choice made that it leaves open until model and machine are known: once for
        each reference that the techniques are to be measured against.

        `uncompiled` is as in `Build`; `of_reference`: they are what the compiled reference is made of.
        """
        return (self,)

    def compiles(self) -> bool:
        """Whether it compiles every model that it runs, where the techniques let it."""
        return False

    def obstacle(self, spec: ModelSpec) -> str | None:
        """Why it compiles no model like this, where it compiles others; null: it does. Reads no weights."""
        return None

    def why_eager(self, build: Build, machine: Machine) -> str | None:
        """Why it runs `build` uncompiled, where it can also compile; null: it compiles, or has no choice."""
        return None

    @abstractmethod
    def room_bytes(self, build: Build) -> int:
        """Memory that a second model like `build` needs on the device, beside what it computes."""

    @abstractmethod
    def serve(self, build: Build, machine: Machine) -> AbstractContextManager[Served]:
        """The model of `build`, answering while the context lasts; its memory is free again after."""
