"""Techniques: a file each, in the folder of its family, found by its name.

`named` tells what there is without importing it, `load` imports the one that is asked for.
"""

from __future__ import annotations

from typing import cast

from greenbench import plugins
from greenbench.techniques.stack import check_order, require_forms
from greenbench.techniques.technique import (
    Edited,
    EngineOption,
    MachineSetting,
    ModelEdit,
    Preparation,
    Technique,
    Traits,
    knobs,
)

__all__ = [
    "Edited",
    "EngineOption",
    "MachineSetting",
    "ModelEdit",
    "Preparation",
    "Technique",
    "Traits",
    "check_order",
    "discover",
    "knobs",
    "load",
    "named",
    "require_forms",
]


def named() -> plugins.Room:
    """Every technique by name, plug-ins' too; none is imported."""
    return plugins.named(__name__)


def load(name: str) -> type[Technique]:
    """The technique of that name, imported alone."""
    return cast("type[Technique]", named()[name].load())


def discover() -> dict[str, type[Technique]]:
    """Every technique by name, all of them imported: seconds."""
    for known in named().values():
        if not known.fault:
            known.load()
    return {cls.name: cls for cls in _subclasses(Technique)}


def _subclasses(cls: type[Technique]) -> list[type[Technique]]:
    return [
        leaf
        for sub in cls.__subclasses__()
        for leaf in (sub, *_subclasses(sub))
        if "name" in vars(leaf)
    ]
