"""Settings: which runs may be compared, in which order, and how each is named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from greenbench.schema.load_spec import SWEEP
from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.schema.quantity import Provenance
from greenbench.schema.record import Record
from greenbench.schema.resolved import (
    Chosen,
    ResolvedLoad,
    ResolvedSlo,
    ResolvedSpec,
    ResolvedTask,
)
from greenbench.schema.spec import USUAL_ENGINE
from greenbench.wording import natural, percent

COMMIT = re.compile("^([0-9a-f]{12})[0-9a-f]{28}$")
EAGER = ("reference", "eager")
TIERS = ("publish", "dev", "smoke")
CLOSED = "closed"
"""The load of runs that send a batch once the one before is answered: no heading speaks of it."""
SOURCES: dict[Provenance, str] = {
    "measured:counter:nvml": "NVML counter",
    "measured:integrated:nvml": "NVML power, integrated",
    "measured:counter:rapl": "RAPL counter",
    "measured:counter:zeus": "counter read by Zeus",
    "measured:integrated:zeus": "power read by Zeus, integrated",
    "measured:wall": "wall meter",
    "measured:plugin": "a plug-in's meter",
    "estimated:model": "estimate (≈)",
    "assumed": "assumption (≈)",
    "unavailable": "no joules",
}


class Setting(NamedTuple):
    """What runs must share to stand in one table: what was run, where, and what its joules are."""

    tier: str
    source: Provenance
    boundary: str
    model: str
    device: str
    workload: str
    tasks: str
    fingerprint: str
    """Of the model's content: two models of one name stay apart."""
    engine: str
    """With all its knobs."""
    load: str
    version: str = ""
    """Of the engine; empty: not recorded."""
    changed: str = ""
    """Its knobs that are other than usual."""

    @property
    def title(self) -> str:
        """Model, device, workload and load."""
        return f"{self.place}, {self.asked}"

    @property
    def asked(self) -> str:
        """The workload, and how its requests arrive where they do not wait for each other."""
        return self.workload if self.load == CLOSED else f"{self.workload}, {self.load}"

    @property
    def place(self) -> str:
        """Model, device and engine."""
        return f"{self.model} on {self.device} with {self.program}"

    @property
    def program(self) -> str:
        """The engine by name, version and what is unusual about it."""
        parts = (self.engine.partition("(")[0], self.version, self.changed)
        return " ".join(part for part in parts if part)

    @property
    def usual(self) -> Setting:
        """The same with the usual engine's eager reference."""
        return self._replace(engine=USUAL_ENGINE, changed="(eager)")

    @property
    def measured(self) -> bool:
        """Whether joules were measured here."""
        return self.source.startswith("measured")

    @property
    def claims(self) -> bool:
        """Whether the tier allows any claim (design rule 5)."""
        return self.tier in {"dev", "publish"}

    @property
    def meter(self) -> str:
        """Where the joules come from, in words."""
        words = SOURCES.get(self.source, self.source)
        return f"{words}, {self.boundary}" if self.boundary else words


def setting(record: Record) -> Setting:
    """What `record` shares with the runs that it may be compared with."""
    spec = record.spec
    metrics = record.candidate.metrics if record.candidate else {}
    energy = ENERGY_PER_TOKEN.level(metrics)
    source: Provenance = "unavailable" if energy.value is None else energy.provenance
    return Setting(
        tier=spec.protocol.tier,
        source=source,
        boundary=_boundary(record, source),
        model=_model(record),
        device=hardware(record),
        workload=_workload(spec),
        tasks=_tasks(spec.task),
        fingerprint=record.model.fingerprint if record.model else "",
        engine=_engine(spec.engine),
        load=_load(spec.load, spec.slo),
        version=(record.engine.version if record.engine else None) or "",
        changed=_changed(record),
    )


def told_apart(settings: Sequence[Setting]) -> tuple[list[str], list[str]]:
    """What all of them share, in parts, and for each what it does not; equal tasks go unsaid."""
    parts = [
        [
            each.model,
            f"on {each.device}",
            f"with {each.program}",
            each.asked,
            f"joules: {each.meter}",
            f"tier {each.tier}",
            each.tasks,
        ]
        for each in settings
    ]
    *said, tasks = [len(set(column)) == 1 for column in zip(*parts, strict=True)]
    common = [part for part, same in zip(parts[0], said, strict=False) if same]
    own = [
        ", ".join(part for part, same in zip(mine, [*said, tasks], strict=True) if not same)
        for mine in parts
    ]
    titles = (each.title for each in settings)
    return common, [text or title for text, title in zip(own, titles, strict=True)]


def hardware(record: Record) -> str:
    """The device by name, and whether it is a CPU or a GPU."""
    device = record.spec.device
    return f"{device.name} ({device.kind})"


def rank(key: Setting) -> tuple[Any, ...]:
    """Order of groups: by tier, measurements before estimates before neither, then by name."""
    trust = 0 if key.measured else 2 if key.source == "unavailable" else 1
    last = key._replace(
        engine=f"{key.engine}~"
    )  # behind a bracket: its compiled reference comes first
    asked = (natural(key.workload), natural(key.load))
    return (TIERS.index(key.tier), trust, key.model, key.device, *asked, *last)


def _boundary(record: Record, source: Provenance) -> str:
    primary = (window.energy[0] for window in record.windows if window.energy)
    return " + ".join(sorted({span.boundary for span in primary if span.provenance == source}))


def _model(record: Record) -> str:
    model = record.spec.model
    packing = record.model.packing if record.model else None
    form = f"{packing}; computed in {model.dtype}" if packing else model.dtype
    revision = COMMIT.sub(r"\1", model.revision or "")
    return f"{model.id or model.name}{'@' * bool(revision)}{revision} ({form})"


def _workload(spec: ResolvedSpec) -> str:
    work = spec.workload
    if spec.training is not None:
        return f"{work.name} ({spec.training.said})"
    limit = "up to " if work.stop == "natural" else ""
    chat = ", chat template" if work.chat_template else ""
    batch = f"batch {work.batch_size}, " if spec.load.arrivals == "closed" else ""
    return (
        f"{work.name} ({batch}{work.prompt_tokens} tokens in, "
        f"{limit}{work.output_tokens} out{chat})"
    )


def _load(load: ResolvedLoad, limits: ResolvedSlo) -> str:
    """How requests arrive, how long they are, and how soon they must be answered."""
    if load.arrivals == "closed":
        return CLOSED
    alike = f"the first {percent(load.shared)} of each prompt alike" if load.shared else ""
    parts = (_arrivals(load), _lengths(load), alike, _at_once(load), _limits(limits))
    return ", ".join(part for part in parts if part)


def _arrivals(load: ResolvedLoad) -> str:
    if load.arrivals == "concurrent":
        users = _listed(load.concurrency)
        return f"{users} user{'' if users == '1' else 's'}"
    trace = load.trace[:12] if load.trace else "GreenBench's own"
    kind = {
        "gamma": f"{_spacing(load.cv or 1.0)} (gamma, cv {load.cv or 1.0:g})",
        "trace": f"a trace's arrivals ({trace})",
    }.get(load.arrivals, f"{load.arrivals} arrivals")
    return f"{kind} at {_rates(load.rate)}"


def _spacing(cv: float) -> str:
    return "bursty" if cv > 1 else "even" if cv < 1 else "random"


def _rates(rate: Any) -> str:
    if rate is None:
        return "its own rate"
    return "rates up to saturation" if rate == SWEEP else f"{_listed(rate)} requests/s"


def _listed(given: Any) -> str:
    return ", ".join(f"{each:g}" for each in (given if isinstance(given, list) else [given]))


def _lengths(load: ResolvedLoad) -> str:
    """Of prompts and answers, where they are not the workload's own."""
    return {
        "fixed": "",
        "lognormal": f"lognormal lengths around these (spread {load.spread:g})",
        "texts": "prompts as long as their texts",
        "trace": "the trace's lengths",
    }[load.lengths]


def _at_once(load: ResolvedLoad) -> str:
    usual = ResolvedLoad.model_fields["at_once"].default
    return "" if load.at_once == usual else f"{load.at_once} answered at once"


def _limits(limits: ResolvedSlo) -> str:
    """How soon so many of the requests must be answered."""
    named = (("TTFT", limits.ttft_ms), ("TPOT", limits.tpot_ms))
    found = [f"{name} {most:g} ms" for name, most in named if most is not None]
    return f"limits {' and '.join(found)} for {percent(limits.share)}" if found else ""


CHAT: Mapping[bool | str, list[str]] = {
    "auto": [],
    True: ["chat template"],
    False: ["no chat template"],
}


def _tasks(task: ResolvedTask) -> str:
    count = "all items" if task.items == 0 else f"{task.items} items each"
    shots = "shots as each says" if task.fewshot is None else f"{task.fewshot}-shot"
    parts = [count, f"seed {task.seed}", shots]
    parts += CHAT[task.chat_template]
    parts += [f"filter {task.filter}"] if task.filter else []
    parts += [f"metric {task.metric}"] if task.metric else []
    parts += [f"answers up to {task.answer_tokens} tokens"] if task.answer_tokens else []
    parts += ["answers drawn"] if task.sampling == "model" else []
    return f"{', '.join(task.names)} ({', '.join(parts)})"


def _engine(engine: Chosen) -> str:
    """Name and all knobs, as what is left to a default decides a result too."""
    knobs = ", ".join(f"{name}={value}" for name, value in _said(engine.knobs))
    return f"{engine.name}({knobs})" if knobs else engine.name


def _changed(record: Record) -> str:
    """The knobs for a reader, a switch by its name, all of them where none says which are unusual; and how
    its kernels are started, as that decides what a small batch takes."""
    known = record.engine.changed if record.engine else None
    said = _said(record.spec.engine.knobs if known is None else known)
    words = [*_started(record), *(
        name if value is True else f"{name}={value}" for name, value in said if name != "reference"
    )]  # fmt: skip
    return f"({', '.join(words)})" if words else ""


def _started(record: Record) -> list[str]:
    engine, graphs = record.spec.engine, ["CUDA graphs"] * (record.spec.device.kind == "cuda")
    if engine.name == USUAL_ENGINE:
        compiled = engine.knobs.get(*EAGER) != "eager"
        return ["compiled", *graphs] if compiled else ["eager"]
    return graphs if engine.knobs.get("eager") is False else []


def _said(knobs: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """By name; an eager reference is what there was before there was another."""
    return sorted(knob for knob in knobs.items() if knob != EAGER)
