"""A run's load: what it refuses, what its servers must be ready for, and which loads there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from greenbench.errors import UserError
from greenbench.measure import lengths, request_traces
from greenbench.measure.arrivals import Demand, steps
from greenbench.measure.load_blocks import Loads, capacities
from greenbench.measure.requests import Prompts
from greenbench.models import texts
from greenbench.quality.tasks import IN_WORDS, kinds
from greenbench.schema.enums import Arrivals, Lengths
from greenbench.schema.load_spec import SWEEP, LoadSpec
from greenbench.schema.spec import RunSpec, WorkloadSpec
from greenbench.schema.window import WHO, Who

if TYPE_CHECKING:
    from greenbench.engines.engine import Engine
    from greenbench.measure.pair import Pair
    from greenbench.measure.request_traces import RequestTrace


def refuse_lengths(spec: RunSpec, engines: Mapping[Who, Engine]) -> None:
    """Raise UserError where a model is compiled for one length of request and is to meet many, and where
    one is longer than a server that is running already takes."""
    compiled = any("module" in each.forms and each.compiles() for each in engines.values())
    if compiled and spec.load.lengths is not Lengths.fixed:
        raise UserError(
            f"load.lengths={spec.load.lengths.value} makes requests of many lengths, for each of which the "
            "compiled reference would compile anew: say engine.reference=eager, or load.lengths=fixed."
        )
    running = {who: each for who, each in engines.items() if "url" in each.forms}
    work = spec.workload
    tokens, most = work.prompt_tokens + work.output_tokens, min(_contexts(running), default=inf)
    if tokens > most:  # other engines make room
        raise UserError(
            f"workload.prompt_tokens={work.prompt_tokens} and workload.output_tokens="
            f"{work.output_tokens} make {tokens} tokens, and engine.context={most} says that the server "
            "takes no more: ask for fewer, or raise that where it does."
        )


def trace(load: LoadSpec) -> RequestTrace | None:
    """The trace that the load follows, if it follows one. Raises UserError where it cannot be read."""
    if load.arrivals is not Arrivals.trace:
        return None
    return request_traces.load(Path(load.trace).expanduser() if load.trace else None)


def at_most(spec: RunSpec, engines: Mapping[Who, Engine]) -> tuple[int, int]:
    """Requests that a server answers at once, and tokens of the longest, its prompt and answer."""
    work, load = spec.workload, spec.load
    usual = work.prompt_tokens + work.output_tokens  # these warm it up
    if load.is_closed and work.batch_size > 1 and IN_WORDS in kinds(spec.task):
        return work.batch_size, max([usual, *_contexts(engines)])
    if load.is_closed:
        return work.batch_size, usual
    limits = [] if load.lengths is Lengths.fixed else _contexts(engines)
    longest = min(sum(lengths.longest(work, load, trace(load))), *limits, inf)
    return load.at_once, max(usual, int(longest))


def _contexts(engines: Mapping[Who, Engine]) -> list[int]:
    """What each engine is set to take at most, where it is; for fixed lengths engines make room."""
    found = (getattr(engine, "context", None) for engine in engines.values())
    return [tokens for tokens in found if tokens is not None]


def warming(spec: RunSpec, engines: Mapping[Who, Engine]) -> WorkloadSpec:
    """What warms up: under load a server meets as many requests at once as it will answer."""
    in_process = any("module" in engine.forms for engine in engines.values())
    if spec.load.is_closed or in_process:
        return spec.workload
    return replace(spec.workload, batch_size=spec.load.at_once)


def prompts(spec: RunSpec, pair: Pair) -> Prompts:
    """All text of the run, of which no prompt comes twice before all of it is read."""
    text = texts.for_prompts(spec.workload.batch_size * spec.workload.prompt_tokens)
    with pair.use("baseline") as served:
        return Prompts(served.tokenizer, text, spec.workload, spec.seed)


def loads(spec: RunSpec, engines: Mapping[Who, Engine], pair: Pair) -> Loads:
    """All loads of the run, found by a try where the spec asks for a sweep."""
    read, text = trace(spec.load), prompts(spec, pair)
    with pair.use("baseline") as served:
        set_to = [] if spec.load.lengths is Lengths.fixed else _contexts(engines)
        limits = [*set_to, served.max_tokens]
        most = min((tokens for tokens in limits if tokens is not None), default=None)
        demand = Demand(spec.load, spec.workload, text, spec.seed, read, most)
    strangers = frozenset(who for who in WHO[1:] if engines[who].keeps_prompts)
    points = spec.load.points
    if spec.load.rate == SWEEP:
        points = steps(capacities(pair, demand, strangers, spec.protocol))
    elif read is not None and spec.load.rate is None:
        points = (read.rate,)
    return Loads(demand, spec.slo, points, strangers)
