"""What runs a model: a file each, found by its name.

`named` tells what there is without importing it, `load` imports the one that is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from greenbench import plugins

if TYPE_CHECKING:
    from greenbench.engines.engine import Engine


def named() -> plugins.Room:
    """Every engine by name, plug-ins' too; none is imported."""
    return plugins.named(__name__)


def load(name: str) -> type[Engine]:
    """The engine of that name, imported alone."""
    return cast("type[Engine]", named()[name].load())
