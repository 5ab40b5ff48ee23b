"""How a technique reaches an engine: in this process, by a checkpoint, or as an option."""

from __future__ import annotations

from collections.abc import Mapping

from greenbench.engines.engine import Engine
from greenbench.errors import UserError
from greenbench.techniques.handover import Handover
from greenbench.techniques.recipe import Recipe
from greenbench.techniques.technique import (
    AnswerSetting,
    EngineOption,
    MachineSetting,
    ModelEdit,
    Technique,
)

WHATEVER: Mapping[type[Technique], str] = {
    MachineSetting: "sets the machine, whatever the engine",
    AnswerSetting: "asks the model otherwise, whatever the engine",
    Handover: "two models behind each other, whatever the engine that runs here",
    Recipe: "trains the model, in a run that trains (workload=finetune)",
}


def way(kind: type[Technique], engines: Mapping[str, type[Engine]]) -> str:
    """In a few words, with those of `engines` that it reaches so."""
    live = {name for name, engine in engines.items() if "module" in engine.forms}
    for whole, said in WHATEVER.items():
        if issubclass(kind, whole):
            return said
    if issubclass(kind, EngineOption):
        return f"an option of {_listed({name for name in engines if _has(kind, name)})}"
    if not issubclass(kind, ModelEdit) or kind.form == "module":
        return f"in process: {_listed(live)}"
    takers = {name for name, engine in engines.items() if kind.form in engine.forms}
    files = f"a checkpoint ({kind.form}): {_listed(takers - live)}"
    return f"{files}; in process: {_listed(live)}" if takers & live else files


def _has(kind: type[EngineOption], engine: str) -> bool:
    """Whether `engine` has the option, as it is by default."""
    try:
        kind().options(engine)
    except (UserError, TypeError):  # the latter of a knob without a default
        return False
    return True


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "no engine here"
