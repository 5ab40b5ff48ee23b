"""Techniques, found by discovery: every module in these folders, and every installed plug-in.

A plug-in is a package with an entry point in the group ``greenbench.techniques`` that names a module
with a technique; the YAML lies in the ``conf/technique/`` folder of that package.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points

from greenbench.errors import UserError
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
    "plugin_packages",
    "require_forms",
]

GROUP = "greenbench.techniques"


def discover() -> dict[str, type[Technique]]:
    """Every technique by name."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    for plugin in entry_points(group=GROUP):
        _load(plugin.name, plugin.value)
    return {cls.name: cls for cls in _subclasses(Technique)}


def plugin_packages() -> list[str]:
    """Top-level packages of the installed plug-ins, whose ``conf`` folders Hydra searches too."""
    return sorted({plugin.value.partition(".")[0] for plugin in entry_points(group=GROUP)})


def _load(name: str, module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"The technique plug-in {name} cannot be imported ({error}): reinstall or remove it."
        ) from error


def _subclasses(cls: type[Technique]) -> list[type[Technique]]:
    return [
        leaf
        for sub in cls.__subclasses__()
        for leaf in (sub, *_subclasses(sub))
        if "name" in vars(leaf)
    ]
