"""Settings: which runs may be compared, in which order, and how each is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from greenbench.schema.quantity import Provenance, named
from greenbench.schema.record import Record
from greenbench.wording import natural

TIERS = ("publish", "dev", "smoke")
SOURCES: dict[Provenance, str] = {
    "measured:counter:nvml": "NVML counter",
    "measured:integrated:nvml": "NVML power, integrated",
    "measured:counter:rapl": "RAPL counter",
    "measured:counter:zeus": "counter read by Zeus",
    "measured:integrated:zeus": "power read by Zeus, integrated",
    "measured:wall": "wall meter",
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

    @property
    def title(self) -> str:
        """Model, device and workload."""
        return f"{self.model} on {self.device}, {self.workload}"

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
    energy = named(metrics, "energy_per_token_j", "J/token")
    source: Provenance = "unavailable" if energy.value is None else energy.provenance
    return Setting(
        tier=str(dig(spec, "protocol", "tier")),
        source=source,
        boundary=_boundary(record, source),
        model=_model(spec),
        device=hardware(record),
        workload=_workload(spec),
        tasks=_tasks(spec),
        fingerprint=record.model.fingerprint if record.model else "",
    )


def dig(tree: Any, *path: str) -> Any:
    """The value at `path` in nested mappings, or None."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def hardware(record: Record) -> str:
    """The device by name, and whether it is a CPU or a GPU."""
    name, kind = (dig(record.spec, "device", key) for key in ("name", "kind"))
    return f"{name or 'unnamed device'} ({kind})" if kind else str(name or "unnamed device")


def rank(key: Setting) -> tuple[Any, ...]:
    """Order of groups: by tier, measurements before estimates before neither, then by name."""
    tier = TIERS.index(key.tier) if key.tier in TIERS else len(TIERS)
    trust = 0 if key.measured else 2 if key.source == "unavailable" else 1
    return (tier, trust, key.model, key.device, natural(key.workload), *key)


def _boundary(record: Record, source: Provenance) -> str:
    primary = (window.energy[0] for window in record.windows if window.energy)
    return " + ".join(sorted({span.boundary for span in primary if span.provenance == source}))


def _model(spec: Mapping[str, Any]) -> str:
    name = dig(spec, "model", "id") or dig(spec, "model", "name")
    revision, dtype = dig(spec, "model", "revision"), dig(spec, "model", "dtype")
    return f"{name}{f'@{revision}' if revision else ''} ({dtype})"


def _workload(spec: Mapping[str, Any]) -> str:
    load = dig(spec, "workload")
    sizes = ("name", "batch_size", "prompt_tokens", "output_tokens")
    name, batch, given, made = (dig(load, key) for key in sizes)
    limit = "up to " if dig(load, "stop") == "natural" else ""
    chat = ", chat template" if dig(load, "chat_template") is True else ""
    return f"{name} (batch {batch}, {given} tokens in, {limit}{made} out{chat})"


def _tasks(spec: Mapping[str, Any]) -> str:
    task = dig(spec, "task")
    names, items, seed, shots = (dig(task, key) for key in ("names", "items", "seed", "fewshot"))
    count = "all items" if items == 0 else f"{items} items each"
    return f"{', '.join(map(str, names or []))} ({count}, seed {seed}, {shots}-shot)"
