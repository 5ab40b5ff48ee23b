"""Before a run: does the engine compute with the weights that it was given?

A wrong order of rows, begin token or file gives numbers that look like any others. So a few known texts go
through the engine and through the same weights in process.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace

from greenbench.engines.engine import Build, Engine, Served
from greenbench.engines.query import Said
from greenbench.engines.transformers.engine import Transformers
from greenbench.engines.transformers.load import config
from greenbench.engines.transformers.suits import require_unpacker
from greenbench.errors import EngineFault, UserError
from greenbench.files import write_atomically
from greenbench.machine.detect import Machine
from greenbench.models import inputs
from greenbench.paths import cache_dir
from greenbench.quality.known_texts import GOES_ON, TEXTS, alike, apart, said

MOST_NATS = 0.1
"""Per token; plain weights that are further apart are not the same weights."""
MOST_UNKNOWN_NATS = 1.0
"""Of a server that does not tell what it holds, which may be quantized: further off it is another model."""
PLAIN = {"float32", "float16", "bfloat16", "f32", "f16", "bf16"}
"""Storage dtypes that nothing was rounded to but the model's own."""


def expectation(build: Build, engine: Engine, machine: Machine) -> Said | None:
    """What the weights of `build` say of the texts in process; null for an engine that is not probed."""
    if "probe" not in engine.abilities:
        return None
    at_url = build.form == "url"  # and may tell no log-probabilities
    here = replace(build, options={}, form="safetensors" if at_url else build.form)
    with Transformers().serve(here, machine) as served:
        return said(served, greedily=at_url)


def kept_expectation(
    build: Build, engine: Engine, machine: Machine, fingerprint: str
) -> Said | None:
    """That of the plain model, kept from an earlier run where there was one: it need not be loaded."""
    if "probe" not in engine.abilities or not _is_readable(build, machine):
        return None
    how = [TEXTS, GOES_ON, build.form == "url", machine.device, inputs.packages()]
    made_of = [fingerprint, build.model.dtype.value, *how]
    file = cache_dir() / "probes" / f"{inputs.key(made_of)[:16]}.json"
    with suppress(OSError, ValueError, TypeError):
        nats, texts = json.loads(file.read_bytes())
        return Said(tuple(nats), tuple(texts))
    found = expectation(build, engine, machine)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(found).encode(), durable=False)
    return found


def _is_readable(build: Build, machine: Machine) -> bool:
    """Whether the weights can be read in process: there are packed ones that the engine alone reads."""
    if build.form == "url":
        return True
    with suppress(UserError):  # which its run says, where it matters
        require_unpacker(build.model, config(build.model, build.directory), machine)
        return True
    return False


def probe(served: Served, build: Build, engine: Engine) -> float | None:
    """Nats per token between what is served and its weights in process; null where that is not known.

    Raises EngineFault for plain weights that are not the same, UserError for another model at a URL. What
    a quantized model computes with is not its weights alone, so that its distance is told and no more.
    """
    if build.expected is None or "probe" not in engine.abilities:
        return None
    held = served.footprint().bytes_by_dtype
    found = said(served, greedily=held is None)
    distance = apart(found, build.expected)
    if held is None:
        _require_same_model(found, build, engine, distance)
    elif distance is not None and set(held) <= PLAIN and not distance <= MOST_NATS:
        raise EngineFault(
            f"engine={engine.name} does not compute with the model's weights: on a known text it is "
            f"{distance:.2g} nats per token away from the same weights in process, where {MOST_NATS:g} is "
            "much; use another engine, and tell us which model this was."
        )
    return distance


def _require_same_model(found: Said, build: Build, engine: Engine, distance: float | None) -> None:
    """By the distance, or by how texts go on where there is none."""
    assert build.expected is not None
    if distance is None and alike(found, build.expected):
        return
    if distance is not None and distance <= MOST_UNKNOWN_NATS:
        return
    how = "it goes on with known texts otherwise"
    if distance is not None:
        how = (
            f"on a known text it is {distance:.2g} nats per token away from that in process, where "
            f"{MOST_UNKNOWN_NATS:g} is much"
        )
    raise UserError(
        f"What engine={engine.name} serves is not {build.model.name} ({how}): serve that model, or say "
        "model= for the one that is served."
    )
