"""Whether a run of one's own measures what a published number is of: what differs, there and here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Final, NamedTuple

from greenbench.analysis.readings import joules
from greenbench.analysis.reproduction.tables import Published
from greenbench.plugins import named
from greenbench.plugins.finding import defaults
from greenbench.schema.metrics import TOKENS_PER_S
from greenbench.schema.record import Record
from greenbench.schema.resolved import ResolvedModel, ResolvedSpec
from greenbench.schema.window import Window

NEAR: Final = 1.5
"""Factor within which prompts and answers are as long."""
COUNT: Final = re.compile(r"^(\d+) ?x (.*)$")
MAKERS: Final = re.compile(r"\b(nvidia|geforce|tesla|amd|instinct|radeon)\b", re.IGNORECASE)
BOARDS: Final = re.compile(r"\b(\d+ ?gb|hbm\d\w?|sxm\d?)\b", re.IGNORECASE)
"""What of a device's name tells only how much memory of which kind, or the usual socket."""


class Difference(NamedTuple):
    """One thing that is another there than here."""

    what: str
    there: str
    here: str

    def __str__(self) -> str:
        return f"{self.what} ({self.there} there, {self.here} here)"


def device_class(name: str) -> str:
    """What devices must share to be one for a published number: their maker's model, and how many."""
    match = COUNT.match(name.strip())
    count, one = (match[1], match[2]) if match else ("1", name)
    words = BOARDS.sub(" ", MAKERS.sub(" ", one.replace("-", " "))).split()
    return f"{count} x {' '.join(words).lower()}"


def other_device(row: Published, name: str) -> Difference | None:
    """Whether a device is of another class than the row's."""
    if device_class(row.device) == device_class(name):
        return None
    return Difference("device class", row.device, name)


def other_model(wanted: str, dtype: str, model: ResolvedModel) -> Difference | None:
    """Whether a model is another than the one `wanted`, in as many bits."""
    here = model.id or model.name
    if _name(wanted) != _name(here):
        return Difference("model", wanted, here)
    if (dtype == "float32") is not (model.dtype == "float32"):
        return Difference("model's dtype", dtype, model.dtype)
    return None


def _name(model: str) -> str:
    """As a hub calls it, whoever put it there."""
    return model.rpartition("/")[2].lower()


def has_technique(row: Published, spec: ResolvedSpec) -> bool:
    """Whether its one technique is the row's, with the row's knobs, and all others as they are by default:
    but those that the row's own run needs, and null ones, which are left to the machine."""
    if row.technique is None:
        return True
    if [each.name for each in spec.technique] != [row.technique]:
        return False
    had = spec.technique[0].knobs
    usual = {
        key: value
        for key, value in _usual(row.technique).items()
        if value is not None and key in had and key not in row.needs
    }
    return all(had.get(key) == value for key, value in {**usual, **row.knobs}.items())


@cache
def _usual(technique: str) -> dict[str, Any]:
    """The defaults of its knobs, read from its source; none where it is not installed."""
    known = named("greenbench.techniques").get(technique)
    return defaults(known.path, known.cls) if known and known.path else {}


def differences(row: Published, record: Record, model: str | None = None) -> list[Difference]:
    """All that `record` has otherwise than `row`; `model`: what it is to be of, if not the row's own."""
    spec = record.spec
    found = (
        other_model(model or row.model, row.dtype, spec.model),
        other_device(row, spec.device.name),
        _plain("engine", row.engine, spec.engine.name),
        _plain("arrivals", row.arrivals, spec.load.arrivals),
        _plain("batch", row.batch, batch(spec)),
        _long("prompt tokens", row.prompt_tokens, spec.workload.prompt_tokens),
        _long("answer tokens", row.output_tokens, spec.workload.output_tokens),
        *_joules(row, record),
    )
    return [each for each in found if each]


def tells_lengths(row: Published) -> bool:
    """Whether it was published how long prompts and answers are, by which joules and speed change."""
    return row.prompt_tokens is not None and row.output_tokens is not None


def unlike(one: Record, other: Record) -> list[str]:
    """What two runs that are set against each other were not measured alike in."""
    pairs = zip(_setting(one).items(), _setting(other).values(), strict=True)
    return [
        f"{what} of our two runs ({first} and {second})"
        for (what, first), second in pairs
        if first != second
    ]


def _setting(record: Record) -> dict[str, object]:
    spec, engine = record.spec, record.engine
    return {
        "prompt tokens": spec.workload.prompt_tokens,
        "answer tokens": spec.workload.output_tokens,
        "end of answers": spec.workload.stop,
        **{f"load.{key}": value for key, value in spec.load.model_dump().items()},
        "device": spec.device.name,
        "engine": spec.engine.name,
        "engine's version": engine and engine.version,
        "tier": spec.protocol.tier,
    }


def batch(spec: ResolvedSpec) -> int | None:
    """Requests answered at once; null where a run has several numbers, or arrivals at a rate."""
    if spec.load.arrivals == "closed":
        return spec.workload.batch_size
    asked = spec.load.concurrency
    return asked if isinstance(asked, int) else None


def _plain(what: str, there: object, here: object) -> Difference | None:
    if there == here and there is not None:
        return None
    return Difference(what, *("not told" if each is None else str(each) for each in (there, here)))


def _long(what: str, there: int | None, here: int) -> Difference | None:
    """What was not published is not held against a run."""
    if there is None or 1 / NEAR <= here / there <= NEAR:
        return None
    return Difference(what, str(there), str(here))


def _joules(row: Published, record: Record) -> Iterator[Difference]:
    """An estimate is never set against what was measured, nor joules of one boundary against another's."""
    if row.of is TOKENS_PER_S:
        return
    counted: Window | None = next((w for w in record.windows if joules(w) is not None), None)
    if counted is None:
        yield Difference("joules", "measured", "none")
        return
    span = counted.energy[0]
    if not span.provenance.startswith("measured"):
        yield Difference("joules", "measured", "estimated")
    if span.boundary != row.boundary:
        yield Difference("boundary of joules", row.boundary, span.boundary)
