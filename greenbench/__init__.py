"""GreenBench: what efficiency techniques really save on real language models.

The public names are those of `greenbench.api`, loaded when first asked for; all but its `report`, as
`greenbench.report` is the room that writes reports.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenbench.api import (
        AnswerSetting,
        Engine,
        EngineOption,
        MachineSetting,
        Meter,
        ModelEdit,
        advise,
        bench,
        compare,
        groups,
        load,
        make,
        metered,
    )

__all__ = [
    "AnswerSetting",
    "Engine",
    "EngineOption",
    "MachineSetting",
    "Meter",
    "ModelEdit",
    "advise",
    "bench",
    "compare",
    "groups",
    "load",
    "make",
    "metered",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("greenbench.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
