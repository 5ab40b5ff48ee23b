"""Live modules as the engine of this process serves them."""

from contextlib import nullcontext
from typing import Any, NamedTuple

from greenbench.engines.engine import Build, Request
from greenbench.engines.transformers.engine import Transformers
from greenbench.engines.transformers.generate import complete
from greenbench.engines.transformers.load import load_model, load_tokenizer
from greenbench.engines.transformers.served import InProcess
from greenbench.machine.detect import Machine
from greenbench.measure.pair import Together
from greenbench.quality import known_texts
from greenbench.schema.enums import Source, Stop
from greenbench.schema.spec import ModelSpec


def module(model, **how):
    """A build of a live module; `how` are further fields, such as its loop."""
    return Build(None, "module", model, None, **how)


def serve(build, tokenizer=None):
    """It, answering."""
    return InProcess(build.source, tokenizer, build)


def goes_on(directory):
    """How the model whose files lie there goes on after a known text."""
    spec = ModelSpec("tiny", Source.local, path=str(directory))
    build = Build(spec, "safetensors", directory, directory)
    with Transformers().serve(build, Machine("cpu", "some CPU", 1 << 34)) as served:
        return known_texts.said(served, greedily=True).texts[0]


def together(baseline, candidate):
    """Two live modules, or builds of them, as a pair."""
    builds = [each if isinstance(each, Build) else module(each) for each in (baseline, candidate)]
    make = {who: lambda b=b: b for who, b in zip(("baseline", "candidate"), builds, strict=True)}
    return Together(lambda who, build: nullcontext(serve(build)), make)


class Loaded(NamedTuple):
    """A live module and its plain tokenizer."""

    model: Any
    tokenizer: Any


def load(spec, path, device):
    """A plain model of the spec, and its tokenizer."""
    return Loaded(load_model(spec, path, device), load_tokenizer(spec, path))


class Generated(NamedTuple):
    """One batch: what it made and when."""

    tokens: int
    prompt_tokens: int
    seconds: float
    ttft_s: float
    gaps_s: list[float]


def generate(model, prompt, new_tokens, stop=Stop.fixed):
    """Generate after each row of `prompt` with the model's own ``generate``."""
    done = complete(model, [Request(tuple(row), new_tokens, stop) for row in prompt.tolist()])
    tokens, read = (
        sum(getattr(each, what) for each in done) for what in ("tokens", "prompt_tokens")
    )
    return Generated(tokens, read, done[0].seconds, done[0].ttft_s, done[0].gaps_s)
