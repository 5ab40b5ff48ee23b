"""The engine itself as a technique: the baseline in the run's, the candidate in another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Self, cast

from greenbench import engines
from greenbench.engines.engine import Engine
from greenbench.errors import UserError
from greenbench.schema.ranges import require_choice
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import EngineOption

KEY = "technique.engine"
SPOKEN = (
    (re.compile(r"(?<![\w.])engine=(?=\w)"), f"{KEY}.to="),
    (re.compile(r"(?<![\w.])engine\.(?=\w)"), f"{KEY}.knobs."),
)
"""How an engine names itself and its knobs, and what they are called here."""


@dataclass(frozen=True)
class OtherEngine(EngineOption):
    """Run the candidate in another engine than the baseline: is that one worth it?

    Other techniques of the stack are the candidate's, and must suit its engine.
    """

    name: ClassVar[str] = "engine"
    summary: ClassVar[str] = "the candidate in another engine than the baseline"

    to: str = "vllm"
    """The candidate's engine, by name."""
    knobs: dict[str, Any] = field(default_factory=dict)
    """Its knobs, by the names that they have after ``engine.``"""

    def __post_init__(self) -> None:
        require_choice(self.to, f"{KEY}.to", engines.named())
        self.other()

    def other(self) -> Engine:
        """The engine, with its knobs checked as those of ``engine.KNOB`` are."""
        try:
            return engines.made(self.to, self.knobs, f"{KEY}.knobs")
        except UserError as error:
            raise type(error)(self.spoken(str(error))) from error.__cause__

    def running(self, engine: Engine) -> Self:
        """With the knobs in which `engine` is another than was asked for."""
        asked = asdict(cast("Any", self.other()))
        found = {
            name: value
            for name, value in asdict(cast("Any", engine)).items()
            if value != asked[name]
        }
        return replace(self, knobs=self.knobs | found) if found else self

    def spoken(self, text: str) -> str:
        """What the engine says, with its knobs as this technique calls them."""
        for pattern, name in SPOKEN:
            text = pattern.sub(name, text)
        return text

    def disclosed(self) -> dict[str, Any]:
        """All knobs of the engine: their defaults decide the result too."""
        return {"knobs": asdict(cast("Any", self.other()))}

    def label(self) -> str:
        """As a change: ``engine → vllm(eager=True)``."""
        knobs = ", ".join(f"{name}={value}" for name, value in sorted(self.knobs.items()))
        return f"{self.name} → {self.to}{f'({knobs})' if knobs else ''}"

    def promise(self) -> Promise:
        """The same weights; what is saved is the other program's doing."""
        return Promise(bytes_ratio=1.0, note="the same weights, run by another program")

    def options(self, engine: str) -> Mapping[str, object]:
        """None: the engine itself is what changes."""
        return {}
