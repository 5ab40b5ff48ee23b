"""What a record says of its techniques, held against its spec, its windows and its items."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import sqrt
from typing import Any, Final

from greenbench.analysis.accuracy import paired_items
from greenbench.analysis.blocks import energy_of
from greenbench.plugins import named
from greenbench.schema.quality import TaskScore
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import Record
from greenbench.schema.resolved import Chosen
from greenbench.schema.technique import LOSSLESS, AppliedTechnique
from greenbench.schema.window import Window
from greenbench.wording import plain

UNWINDOWED: Final = "its record has no window of its own for it"
"""Why nobody knows the joules of a preparation."""
ALONE: Final = "none"
"""The name of a run without techniques."""
ONE_WAY: Final = 3.72
"""Standard deviations: near ties fall one way by so much in 1 of 10,000 runs (McNemar's test)."""
ROUNDS: Final = 0.01
"""Rounding moves a text's bits by a tenth of this at most."""


def applied_again(record: Record) -> list[AppliedTechnique]:
    """The techniques with what their windows say of their preparation, lossless where they may be."""
    claims = any(part.lossless for part in record.techniques)
    worse = claims and _worse(record.quality)
    windows: Sequence[Window | None] = [w for w in record.windows if w.phase == "prepare"]
    if len(windows) != len(record.techniques):  # of early stacks: one for them all
        windows = [None] * len(record.techniques)
    return [
        part.model_copy(
            update={
                **_preparation(part, window),
                "lossless": part.lossless and _may_be_lossless(part.name) and not worse,
            }
        )
        for part, window in zip(record.techniques, windows, strict=True)
    ]


def said_of_techniques(record: Record) -> list[dict[str, Any]]:
    """By technique, what `applied_again` tells anew, and a record of today must say alike.

    Joules at the wall are not among it: a log is joined when the run is over, and what a preparation took was
    known by the estimate before.
    """
    told = {"lossless", "prepare_s", "prepare_energy"}
    if any(span.provenance == "measured:wall" for w in record.windows for span in w.energy[:1]):
        told.remove("prepare_energy")
    return [part.model_dump(include=told) for part in record.techniques]


def false_stack(record: Record) -> str | None:
    """That a record goes by other techniques than its spec has, or has applied others, in one sentence."""
    stack = record.spec.technique
    names = [each.name for each in stack]
    spoken = plain(", ".join(names) or "no technique", 80)
    if not _is_label(record.name, stack):
        return (
            f"It is altered: its name is {plain(record.name, 60)}, and its spec has {spoken}"
            f"{' with other knobs' if _is_label(record.name, stack, numbers=False) else ''}."
        )
    if record.status == "completed" and [part.name for part in record.techniques] != names:
        return f"It is altered: its techniques that were applied are not its spec's ({spoken})."
    return None


def _preparation(part: AppliedTechnique, window: Window | None) -> dict[str, float | Quantity]:
    if window is not None:
        return {"prepare_s": window.end_s - window.start_s, "prepare_energy": energy_of(window)}
    if part.prepare_energy.value is None:
        return {}
    return {"prepare_energy": missing("J", UNWINDOWED)}


def _may_be_lossless(name: str) -> bool:
    """Whether it is none of GreenBench's own that lose: of a plug-in's, the answers must tell."""
    if name in LOSSLESS:
        return True
    known = named("greenbench.techniques").get(name)
    return known is None or known.plugin is not None


def _worse(scores: Sequence[TaskScore]) -> bool:
    """Whether answers or texts are worse than they can be where all tokens but near ties are the same.

    Ties that fall the other way, as they do in 16 bits, make as many answers right as wrong.
    """
    items = paired_items(scores, accuracy=True)
    pairs = list(zip(items.baseline, items.candidate, strict=True))
    lost = sum(after < before for before, after in pairs)
    gained = sum(after > before for before, after in pairs)
    if lost - gained > ONE_WAY * sqrt(lost + gained):
        return True
    texts = [score.items for score in scores if score.metric == "bits_per_byte"]
    return any(
        sum(item.candidate for item in each) > (1 + ROUNDS) * sum(item.baseline for item in each)
        for each in texts
    )


def _is_label(name: str, stack: Sequence[Chosen], *, numbers: bool = True) -> bool:
    """Whether `name` is one that such a stack goes by: each technique's name, and what its own label adds."""
    if not stack or name == ALONE:
        return not stack and name == ALONE
    added = r"(\((?:(?! \+ ).)*\)|(?: → (?:(?! \+ ).)*))?"
    form = r" \+ ".join(re.escape(each.name) + added for each in stack)
    found = re.fullmatch(form, name, re.DOTALL)
    if found is None:
        return False
    return not numbers or all(
        _agree(said or "", each.knobs) for said, each in zip(found.groups(), stack, strict=True)
    )


def _agree(said: str, knobs: Mapping[str, Any]) -> bool:
    """Whether the numbers that a label tells are those of the knobs, as far as it tells plain ones."""
    inside = said.partition("(")[2].removesuffix(")")
    if re.search(r"[][(){}]", inside):
        return True  # a list or more, whose parts stand for no knob of their own
    return all(
        value in (_numbers([knobs[name]]) if name in knobs else _numbers(knobs.values()))
        for name, value in _told(inside)
        if name in knobs or not name
    )


def _told(inside: str) -> Iterator[tuple[str, float]]:
    """The numbers in ``0.2, steps=3`` with their names; the first may have none."""
    for place, text in enumerate(inside.split(", ")):
        name, equals, value = text.rpartition("=")
        if equals or not place:
            yield from ((name, each) for each in _numbers([value]))


def _numbers(values: Iterable[Any]) -> list[float]:
    """Those of `values` that are numbers, or read so; of a place or a hub's name the last part counts."""
    found = []
    for value in values:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            with suppress(ValueError, OverflowError):
                found.append(float(str(value).partition("@")[0].rpartition("/")[2]))
    return found
