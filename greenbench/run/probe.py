"""Before a run: does the engine compute with the weights that it was given?

A wrong order of rows, begin token or file gives numbers that look like any others. So a few known texts go
through the engine and through the same weights in process.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

from greenbench.engines.engine import Build, Engine, Served
from greenbench.engines.transformers.engine import Transformers
from greenbench.errors import EngineFault, UserError
from greenbench.files import write_atomically
from greenbench.machine.detect import Machine
from greenbench.models import inputs
from greenbench.paths import cache_dir
from greenbench.quality.known_texts import TEXTS, apart, nats_per_token

MOST_NATS = 0.1
"""Per token; plain weights that are further apart are not the same weights."""
MOST_UNKNOWN_NATS = 1.0
"""Of a server that does not tell what it holds, which may be quantized: further off it is another model."""
PLAIN = {"float32", "float16", "bfloat16", "f32", "f16", "bf16"}
"""Storage dtypes that nothing was rounded to but the model's own."""


def expectation(build: Build, engine: Engine, machine: Machine) -> tuple[float, ...] | None:
    """What the weights of `build` say of the texts in process; null for an engine that is not probed."""
    if "probe" not in engine.abilities:
        return None
    here = replace(build, options={}, form="safetensors" if build.form == "url" else build.form)
    with Transformers().serve(here, machine) as served:
        return nats_per_token(served)


def kept_expectation(
    build: Build, engine: Engine, machine: Machine, fingerprint: str
) -> tuple[float, ...] | None:
    """That of the plain model, kept from an earlier run where there was one: it need not be loaded."""
    if "probe" not in engine.abilities:
        return None
    made_of = [fingerprint, build.model.dtype.value, TEXTS, machine.device, inputs.packages()]
    file = cache_dir() / "probes" / f"{inputs.key(made_of)[:16]}.json"
    with suppress(OSError, ValueError):
        return tuple(map(float, json.loads(file.read_bytes())))
    found = expectation(build, engine, machine)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(found).encode(), durable=False)
    return found


def probe(served: Served, build: Build, engine: Engine) -> float | None:
    """Nats per token between what is served and its weights in process; null where that is not known.

    Raises EngineFault for plain weights that are not the same. What a quantized model computes with is not
    its weights alone, so that its distance is told and no more.
    """
    if build.expected is None or "probe" not in engine.abilities:
        return None
    told = nats_per_token(served)
    if told is None:
        return None
    found = apart(told, build.expected)
    held = served.footprint().bytes_by_dtype
    if held is None and not found <= MOST_UNKNOWN_NATS:
        raise UserError(
            f"What engine={engine.name} serves is not {build.model.name}: on a known text it is {found:.2g} "
            f"nats per token away from that in process, where {MOST_UNKNOWN_NATS:g} is much; serve that "
            "model, or say model= for the one that is served."
        )
    if held is not None and set(held) <= PLAIN and not found <= MOST_NATS:
        raise EngineFault(
            f"engine={engine.name} does not compute with the model's weights: on a known text it is "
            f"{found:.2g} nats per token away from the same weights in process, where {MOST_NATS:g} is much; "
            "use another engine, and tell us which model this was."
        )
    return found
