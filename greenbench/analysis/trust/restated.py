"""A record's numbers, verdicts and validity drawn from its own windows and items anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isclose
from typing import Any, Final

from greenbench.analysis.accuracy import UNITS, compared
from greenbench.analysis.blocks import planned, valid_blocks
from greenbench.analysis.conclusions import Conclusions, Told, conclusions
from greenbench.analysis.difficulty import summarised_again
from greenbench.analysis.graded.solved import regraded
from greenbench.analysis.training.conclusions import drawn
from greenbench.analysis.training.curves import noted, sound_stretches
from greenbench.analysis.trust.applied import applied_again, said_of_techniques
from greenbench.models.keys import key_of
from greenbench.records.store import content_hash
from greenbench.schema.codes import validity
from greenbench.schema.metrics import DEVICE_PEAK_BYTES, HOST_PEAK_BYTES, MODEL_BYTES
from greenbench.schema.quality import TaskScore
from greenbench.schema.quantity import Quantity, missing
from greenbench.schema.record import SCHEMA_VERSION, Record, Subject
from greenbench.schema.spec import TIERS
from greenbench.schema.training.record import Training
from greenbench.schema.window import WHO, Who, Window
from greenbench.wording import plain

SIZES: Final = {MODEL_BYTES.name, HOST_PEAK_BYTES.name, DEVICE_PEAK_BYTES.name}
"""Levels that the run knows, and that its windows do not tell."""
CLOSED_OR_USERS: Final = ("closed", "concurrent")
FOLLOWS: Final = {
    "baseline", "candidate", "ratios", "verdicts", "uncertainty", "validity", "codes", "idle", "load",
    "waiting", "difficulty", "quality", "solved", "training",
}  # fmt: skip
"""Fields that are drawn anew, whole or in part."""
CLOSE: Final = 1e-6
"""Two machines round differently: by as much of itself a number may differ."""
NEAR: Final = 1e-9
"""By as much a number near 0 may."""
NEARLY: Final = 0.95
"""Of the least length of a window, as clocks are read a moment later than they are asked."""
CHANCES: Final = ("p_difference", "p_adjusted", "p_equivalence")
CHANCE: Final = 1e-3
"""A probability that is counted among thousands of draws may differ by one or two of them."""
NO_ITEMS: Final = "no item of it stands in the record"
"""Why a score says nothing."""


def restated(record: Record) -> Record:
    """`record` with all that follows from its windows and items; one without a result as it is.

    What its windows do not tell is taken from it: bytes, the warm-up's end, codes of what only the run saw,
    which can but make it worse.
    """
    if record.status != "completed" or record.baseline is None or record.candidate is None:
        return record
    windows = [_judged(window) for window in record.windows]
    told = _told(record)
    if record.training is not None:
        return _trained_again(record, record.training, windows, told)
    found = conclusions(windows, told, regraded(record))
    subjects = {"baseline": record.baseline, "candidate": record.candidate}
    changes: dict[str, Any] = {
        **{who: _subject(subjects[who], found, who) for who in WHO},
        **found.others,
        "windows": found.windows,
        "ratios": found.ratios,
        "verdicts": found.verdicts,
        "validity": found.validity,
        "codes": found.codes,
        "solved": found.solved.tasks,
        "techniques": applied_again(record),
        "quality": [score.model_copy(update=_levels(score)) for score in record.quality],
        "difficulty": record.difficulty
        and summarised_again(
            record.difficulty,
            record.quality,
            found.windows,
            told.tier,
            found.validity,
            told.no_energy,
        ),
    }
    if record.waiting is None:  # of a time when it was not looked at
        del changes["waiting"]
    return record.model_copy(update=changes)


def _trained_again(record: Record, training: Training, windows: list[Window], told: Told) -> Record:
    """`record`, whose models were trained, with all that follows from their windows and losses."""
    found = drawn(windows, noted(training), told.tier, told.codes, told.no_energy)
    subjects = {"baseline": record.baseline, "candidate": record.candidate}
    return record.model_copy(
        update={
            **{
                who: stated and _with_sizes(stated, found.metrics[who])  # type: ignore[index]
                for who, stated in subjects.items()
            },
            "windows": found.windows,
            "ratios": found.ratios,
            "verdicts": found.verdicts,
            "training": found.training,
            "validity": found.validity,
            "codes": found.codes,
            "idle": found.idle,
            "techniques": applied_again(record),
        }
    )


def false_key(document: Mapping[str, Any]) -> str | None:
    """That a record's key is not the one of its spec, in one sentence; null where it is, or where it is of
    an earlier version of the schema, whose spec had other words."""
    if document["schema_version"] != SCHEMA_VERSION:
        return None
    key = key_of(document["spec"])
    if key == document["key"]:
        return None
    return (
        f"It is altered: its key is {plain(document['key'], 40)}, and its own spec makes it {key}."
    )


def false_content(document: Mapping[str, Any]) -> str | None:
    """That a record is not the one that its hash was made of, in one sentence; null of one without a hash."""
    if document.get("content") in (None, content_hash(document)):
        return None
    return "It is altered: its content is not that which its hash was made of."


def false_tier(record: Record) -> str | None:
    """That windows are shorter than the tier promises, in one sentence; null where they are not."""
    tier = record.spec.protocol.tier
    mine = (
        valid_blocks(record.windows) if record.training is None else sound_stretches(record.windows)
    )
    lasted = [window.end_s - window.start_s for window in mine]
    if not lasted or min(lasted) >= NEARLY * TIERS[tier][0]:
        return None
    return (
        f"It is altered: its tier is {tier}, whose windows last {TIERS[tier][0]:g} s or more, and its own "
        f"last {min(lasted):.2g} s."
    )


def altered(record: Record, again: Record) -> str | None:
    """Where `record` says another thing than `again`, its `restated` self, in one sentence; else null."""
    place = next(_differences(_statements(record), _statements(again), ""), None)
    return place and f"It is altered: {place}."


def _told(record: Record) -> Told:
    held: dict[Who, float | None] = {
        "baseline": _held(record.baseline),
        "candidate": _held(record.candidate),
    }
    reasons = (window.energy_reason for window in record.windows)
    return Told(
        tier=record.spec.protocol.tier,
        slo=record.spec.slo,
        is_open=record.spec.load.arrivals not in CLOSED_OR_USERS,
        settled=all(state.settled for state in record.warmup.values()),
        codes=record.codes,
        apart=record.design_reason if record.design == "sequential" else None,
        held=held,
        unknown="the engine does not tell what it holds",
        no_energy=next(filter(None, reasons), "no meter answered"),
        planned=planned(record.spec.protocol.blocks, in_turn=record.design == "sequential"),
    )


def _held(subject: Subject | None) -> float | None:
    return MODEL_BYTES.level(subject.metrics if subject else {}).value


def _judged(window: Window) -> Window:
    """By its codes."""
    worst = validity(window.codes)
    return window if window.validity == worst else window.model_copy(update={"validity": worst})


def _levels(score: TaskScore) -> dict[str, Quantity]:
    """Drawn from its items, without which nobody knows them."""
    if score.items:
        return compared(score.metric, score.items)
    unknown = missing(UNITS.get(score.metric, "fraction"), NO_ITEMS)
    return dict.fromkeys(("baseline", "candidate", "change"), unknown)


def _subject(stated: Subject, found: Conclusions, who: Who) -> Subject:
    return _with_sizes(stated, found.metrics[who])


def _with_sizes(stated: Subject, metrics: dict[str, Quantity]) -> Subject:
    sizes = {name: each for name, each in stated.metrics.items() if name in SIZES}
    return stated.model_copy(update={"metrics": metrics | sizes})


def _statements(record: Record) -> dict[str, Any]:
    items = {"__all__": {"items"}}
    said = record.model_dump(include=FOLLOWS, exclude={"quality": items, "solved": items})
    return said | {
        "windows": [(window.validity, window.codes) for window in record.windows],
        "techniques": said_of_techniques(record),
    }


def _differences(stated: Any, found: Any, place: str) -> Iterator[str]:
    """The places of what differs, each with both."""
    if isinstance(stated, dict) and isinstance(found, dict):
        for name in sorted({*stated, *found} - _worded(stated), key=str):
            inside = f"{place}.{name}" if place else name
            yield from _differences(stated.get(name), found.get(name), inside)
    elif isinstance(stated, list | tuple) and isinstance(found, list | tuple):
        if len(stated) != len(found):
            yield f"its {plain(place, 80)} has {len(stated)} parts, and its own windows give {len(found)}"
        for number, (one, other) in enumerate(zip(stated, found, strict=False)):
            yield from _differences(one, other, f"{place}.{number}")
    elif not _same(stated, found, place.rpartition(".")[2]):
        yield f"its {plain(place, 80)} is {_shown(stated)}, and its own windows say {_shown(found)}"


def _worded(stated: dict[str, Any]) -> set[str]:
    """Sentences are no statement of their own, but of verdicts that no test stands behind."""
    untested = "verdict" in stated and stated.get("p_difference") is None
    return set() if untested else {"reason"}


def _same(stated: Any, found: Any, name: str) -> bool:
    if isinstance(stated, float | int) and isinstance(found, float | int):
        near = CHANCE if name in CHANCES else NEAR
        return isclose(stated, found, rel_tol=CLOSE, abs_tol=near)
    return bool(stated == found)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "another" if isinstance(value, dict | list | tuple) else plain(value, 60)
