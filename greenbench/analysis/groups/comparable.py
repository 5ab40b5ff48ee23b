"""Settings: which runs may be compared, in which order, and how each is named."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from greenbench.schema.metrics import ENERGY_PER_TOKEN
from greenbench.schema.outline import Outline
from greenbench.schema.quantity import Provenance
from greenbench.schema.resolved import Chosen, ResolvedTask, ResolvedWorkload
from greenbench.schema.spec import USUAL_ENGINE
from greenbench.wording import natural

COMMIT = re.compile("^([0-9a-f]{12})[0-9a-f]{28}$")
EAGER = ("reference", "eager")
TIERS = ("publish", "dev", "smoke")
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
    load: str

    @property
    def title(self) -> str:
        """Model, device and workload."""
        return f"{self.place}, {self.workload}"

    @property
    def place(self) -> str:
        """Model and device, and the engine where it is not the usual one."""
        engine = "" if self.engine == USUAL_ENGINE else f" with {self.engine}"
        return f"{self.model} on {self.device}{engine}"

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


def setting(record: Outline) -> Setting:
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
        workload=_workload(spec.workload),
        tasks=_tasks(spec.task),
        fingerprint=record.model.fingerprint if record.model else "",
        engine=_engine(spec.engine),
        load=spec.load.arrivals,
    )


def hardware(record: Outline) -> str:
    """The device by name, and whether it is a CPU or a GPU."""
    device = record.spec.device
    return f"{device.name} ({device.kind})"


def rank(key: Setting) -> tuple[Any, ...]:
    """Order of groups: by tier, measurements before estimates before neither, then by name."""
    trust = 0 if key.measured else 2 if key.source == "unavailable" else 1
    last = key._replace(
        engine=f"{key.engine}~"
    )  # behind a bracket: its compiled reference comes first
    return (TIERS.index(key.tier), trust, key.model, key.device, natural(key.workload), *last)


def _boundary(record: Outline, source: Provenance) -> str:
    primary = (window.energy[0] for window in record.windows if window.energy)
    return " + ".join(sorted({span.boundary for span in primary if span.provenance == source}))


def _model(record: Outline) -> str:
    model = record.spec.model
    packing = record.model.packing if record.model else None
    form = f"{packing}; computed in {model.dtype}" if packing else model.dtype
    revision = COMMIT.sub(r"\1", model.revision or "")
    return f"{model.id or model.name}{'@' * bool(revision)}{revision} ({form})"


def _workload(load: ResolvedWorkload) -> str:
    limit = "up to " if load.stop == "natural" else ""
    chat = ", chat template" if load.chat_template else ""
    return (
        f"{load.name} (batch {load.batch_size}, {load.prompt_tokens} tokens in, "
        f"{limit}{load.output_tokens} out{chat})"
    )


def _tasks(task: ResolvedTask) -> str:
    count = "all items" if task.items == 0 else f"{task.items} items each"
    shots = "shots as each says" if task.fewshot is None else f"{task.fewshot}-shot"
    return f"{', '.join(task.names)} ({count}, seed {task.seed}, {shots})"


def _engine(engine: Chosen) -> str:
    """Name and knobs; an eager reference is what there was before there was another."""
    said = {name: value for name, value in engine.knobs.items() if (name, value) != EAGER}
    knobs = ", ".join(f"{name}={value}" for name, value in sorted(said.items()))
    return f"{engine.name}({knobs})" if knobs else engine.name
