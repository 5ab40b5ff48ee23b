"""How the run's questions are put, and what of an answer is graded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from greenbench.engines.writing import Draw, Written, after_thoughts, markers
from greenbench.errors import Unsupported
from greenbench.schema.enums import Sampling
from greenbench.schema.spec import RunSpec

USUAL: Final = {"temperature": 1.0, "top_p": 1.0, "top_k": 50}
"""Of what a configuration leaves out: transformers' own. A top_k of 0 takes all tokens."""
UNKNOWN: Final[Mapping[str, object]] = {
    "min_p": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
}
"""What else changes what is drawn, with what changes nothing."""


def spoken(written: Written, template: str | None) -> str:
    """What comes after its thoughts; `template` is the model's."""
    marker = markers(template)
    if marker is None or not written.thought_tokens:
        return written.text
    return after_thoughts(written.text, marker[1])


def drawn(spec: RunSpec, directory: Path) -> dict[str, float] | None:
    """How the configuration of the model in `directory` draws tokens; null where the likeliest is taken."""
    if spec.task.sampling is not Sampling.model:
        return None
    known: dict[str, object] = {}
    with suppress(OSError, ValueError):
        known = dict(json.loads((directory / "generation_config.json").read_text()))
    if not known.get("do_sample"):
        return None
    if other := [name for name, off in UNKNOWN.items() if known.get(name, off) not in (None, off)]:
        raise Unsupported(
            "task.sampling=model draws by temperature, top_p and top_k, and the model's "
            f"generation_config.json says {', '.join(other)} too: say task.sampling=greedy."
        )
    said = {name: known.get(name) for name in USUAL}
    return {
        name: float(str(USUAL[name] if value is None else value)) for name, value in said.items()
    }


def drawing(spec: RunSpec, directory: Path) -> Callable[[int], Draw | None]:
    """The same by item, each with a seed of its own."""
    how = drawn(spec, directory)

    def draw(item: int) -> Draw | None:
        if how is None:
            return None
        seed = (spec.seed * 1_000_003 + item) % 2**31
        return Draw(how["temperature"], how["top_p"], int(how["top_k"]), seed)

    return draw
