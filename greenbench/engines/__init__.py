"""What runs a model: a file each, found by its name.

`named` tells what there is without importing it, `load` imports the one that is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from greenbench import plugins

if TYPE_CHECKING:
    from greenbench.engines.engine import Engine


def named() -> plugins.Room:
    """Every engine by name, plug-ins' too; none is imported."""
    return plugins.named(__name__)


def made(name: str, knobs: Mapping[str, object], key: str) -> Engine:
    """The engine of that name with `knobs`, which stand under `key` in the configuration.

    They are checked as all of it is. Raises UserError, or OmegaConf's error with the key in it.
    """
    from omegaconf import OmegaConf

    known = OmegaConf.structured(load(name))
    OmegaConf.set_readonly(known, False)  # as that of a frozen class is
    whole = OmegaConf.create()
    OmegaConf.update(whole, key, known)
    given = OmegaConf.create()
    OmegaConf.update(given, key, dict(knobs))
    return cast("Engine", OmegaConf.to_object(OmegaConf.select(OmegaConf.merge(whole, given), key)))


def load(name: str) -> type[Engine]:
    """The engine of that name, imported alone."""
    return cast("type[Engine]", named()[name].load())
