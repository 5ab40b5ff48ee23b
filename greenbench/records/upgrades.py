"""Records of earlier versions: what they lack or name otherwise, brought to the present schema.

An optional field needs no upgrade. One that became required, or changed its name or meaning, gets a
function here, which knows an old document by its shape and says in words what it did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

NOTE: Final = "upgraded"
"""Where in a loaded record's environment the upgrades are named."""
Document: TypeAlias = dict[str, Any]


def upgraded(document: Any) -> Document | None:
    """`document`, changed in place, with its upgrades named under `NOTE`; None where there are none."""
    try:
        said = [words for upgrade in UPGRADES if (words := upgrade(document))]
        if said:
            document["environment"][NOTE] = said
    except (AttributeError, IndexError, KeyError, TypeError):  # of a file that is no record at all
        return None
    return document if said else None


def _preparation_energy(document: Document) -> str | None:
    """Since commit e42d3c1 each technique has the joules of its own preparation."""
    lacking = [part for part in document["techniques"] if "prepare_energy" not in part]
    for part in lacking:
        part["prepare_energy"] = _whole_preparation(document)
    return "joules of the preparation: those of the whole stack's window" if lacking else None


def _whole_preparation(document: Document) -> Document:
    """Joules of the one window in which one technique was prepared; not known for a stack's parts."""
    spans = [window["energy"] for window in document["windows"] if window["phase"] == "prepare"]
    alone = len(document["techniques"]) == len(spans) == 1
    joules = spans[0][0]["end_j"] - spans[0][0]["start_j"] if alone and spans[0] else None
    if not joules:
        why = "its record is of a time when a technique's own preparation was not metered"
        return {"value": None, "unit": "J", "provenance": "unavailable", "reason": why}
    return {
        "value": joules,
        "unit": "J",
        "provenance": spans[0][0]["provenance"],
        "n": 1,
        "reason": "done once: no interval",
    }


UPGRADES: Final[tuple[Callable[[Document], str | None], ...]] = (_preparation_energy,)
