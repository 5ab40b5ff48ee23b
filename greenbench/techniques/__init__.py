"""Techniques: a file each, in the folder of its family, found by its name.

`named` tells what there is without importing it, `load` imports the one that is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

from greenbench import plugins

if TYPE_CHECKING:
    from greenbench.techniques.stack import check_order
    from greenbench.techniques.technique import Preparation, Technique, knobs

__all__ = ["Preparation", "Technique", "check_order", "discover", "knobs", "load", "named"]

_HOMES = {
    "check_order": "stack",
    "Preparation": "technique",
    "Technique": "technique",
    "knobs": "technique",
}


def __getattr__(name: str) -> Any:
    """What the contract consists of, loaded when first asked for: it needs torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def named() -> dict[str, plugins.Named]:
    """Every technique by name, plug-ins' too; none is imported."""
    return plugins.named(__name__)


def load(name: str) -> type[Technique]:
    """The technique of that name, imported alone."""
    return cast("type[Technique]", named()[name].load())


def discover() -> dict[str, type[Technique]]:
    """Every technique by name, all of them imported: seconds."""
    from greenbench.techniques.technique import Technique

    for known in named().values():
        known.load()
    return {cls.name: cls for cls in _subclasses(Technique)}  # type: ignore[type-abstract]


def _subclasses(cls: type[Technique]) -> list[type[Technique]]:
    return [
        leaf
        for sub in cls.__subclasses__()
        for leaf in (sub, *_subclasses(sub))
        if "name" in vars(leaf)
    ]
