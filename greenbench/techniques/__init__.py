"""Techniques: a file each, in the folder of its family, found by its name.

`named` tells what there is without importing it, `load` imports the one that is asked for.
"""

from __future__ import annotations

from typing import cast

from greenbench import plugins
from greenbench.techniques.handover import Handover
from greenbench.techniques.recipe import Plan, Recipe
from greenbench.techniques.replacement import Replacement
from greenbench.techniques.stack import (
    candidate_engine,
    check_order,
    check_purpose,
    require_forms,
    spoken_of,
)
from greenbench.techniques.technique import (
    AnswerSetting,
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
    "AnswerSetting",
    "Edited",
    "EngineOption",
    "Handover",
    "MachineSetting",
    "ModelEdit",
    "Plan",
    "Preparation",
    "Recipe",
    "Replacement",
    "Technique",
    "Traits",
    "candidate_engine",
    "check_order",
    "check_purpose",
    "discover",
    "knobs",
    "load",
    "named",
    "require_forms",
    "spoken_of",
]


def named() -> plugins.Room:
    """Every technique by name, plug-ins' too; none is imported."""
    return plugins.named(__name__)


def load(name: str) -> type[Technique]:
    """The technique of that name, imported alone."""
    return cast("type[Technique]", named()[name].load())


def discover() -> dict[str, type[Technique]]:
    """Every technique by name that is not broken, all of them imported: seconds."""
    return {name: load(name) for name, known in named().items() if not known.fault}
