"""Records of earlier versions: what they lack or name otherwise, brought to the present schema.

An optional field needs no upgrade. One that became required, or changed its name or meaning, gets a
function here, which knows an old document by its shape and says in words what it did.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

NOTE: Final = "upgraded"
"""Where in a loaded record's environment the upgrades are named."""
LIFTED: Final = "schema version 1, in the words of version 2"
"""What is said of a record that is none the poorer for its age: no reader of a report need know it."""
Document: TypeAlias = dict[str, Any]
FAMILIES: Final = {
    name: family
    for family, names in {
        "pruning": "prune_depth prune_magnitude prune_sparsegpt prune_wanda prune_width",
        "quantization": "dtype float8_quanto float8_torchao gptq int4_bnb int4_quanto "
        "int4_torchao int8_bnb int8_quanto int8_torchao int8dyn_torchao kv_quanto",
        "distillation": "distill",
        "early_exit": "early_exit self_speculative",
        "decoding": "prompt_lookup speculative",
        "runtime": "attention compile static_cache threads",
        "hardware": "clock_lock power_limit",
    }.items()
    for name in names.split()
}
"""Of the techniques that version 1 came with, each in the folder of its code."""


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


def _version_2(document: Document) -> str | None:
    """Since version 2 the spec is typed, with engine and load: one of each was known before."""
    if document["schema_version"] != 1:
        return None
    document["schema_version"] = 2
    lift_spec(document["spec"])
    for window in document.get("windows", ()):
        _place(window)
    for part in document.get("techniques", ()):
        part["family"] = FAMILIES.get(part["name"], "other")
    packages = document["environment"].get("packages", {})
    known = document.get("model") is not None
    document["engine"] = (
        {"name": "transformers", "version": packages.get("transformers")} if known else None
    )
    return LIFTED


def _place(window: Document) -> None:
    """Block and round were fields of their own."""
    fields = {name: window.pop(name, None) for name in ("block", "round", "position", "bin")}
    series = "block" if fields["block"] is not None else "round"
    unit = fields[series]
    window["place"] = unit if unit is None else {
        "series": series, "unit": unit, "position": fields["position"], "bin": fields["bin"],
    }  # fmt: skip


def lift_spec(spec: Document) -> Document:
    """A spec of version 1 in the shape of version 2, changed in place: as what was absent then was."""
    spec.setdefault("engine", {"name": "transformers"})
    spec.setdefault("load", {"arrivals": "closed"})
    spec["task"].pop(
        "batch_size", None
    )  # of scoring: it changed no result, and is chosen by itself
    spec["workload"].setdefault("stop", "fixed")
    spec["workload"].setdefault("chat_template", False)
    protocol = spec["protocol"]
    protocol.setdefault("max_blocks", protocol["blocks"])
    protocol.setdefault("target_half_width", None)
    protocol.setdefault("idle_s", 0.0)
    protocol.setdefault("warmup_limit_s", protocol["warmup_s"])
    protocol.setdefault("design", "interleaved")
    return spec


UPGRADES: Final[tuple[Callable[[Document], str | None], ...]] = (
    _preparation_energy,
    _version_2,
)
