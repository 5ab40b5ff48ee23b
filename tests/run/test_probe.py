"""What is not the model is refused before anything is measured."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from helpers.tiny import tiny_llama

from greenbench.engines.engine import Build, Footprint
from greenbench.engines.llama_cpp.engine import LlamaCpp
from greenbench.engines.query import Said
from greenbench.engines.transformers.engine import Transformers
from greenbench.errors import EngineFault, UserError
from greenbench.machine.detect import Machine
from greenbench.run import probe as probing
from greenbench.run.probe import expectation, kept_expectation, probe
from greenbench.schema.enums import Source
from greenbench.schema.spec import ModelSpec

CPU = Machine("cpu", "some CPU", 1 << 34)
ENGINE = LlamaCpp()
SPEC = ModelSpec("m", Source.local, path="m")


def build(expected):
    return Build(SPEC, "safetensors", None, None, expected=expected)


@pytest.fixture
def served(monkeypatch):
    """Call with what a model says, and its bytes by dtype."""

    def say(nats=(), texts=(), held=None):
        monkeypatch.setattr(probing, "said", lambda served, greedily: Said(nats, texts))
        return SimpleNamespace(footprint=lambda: Footprint(None, None, held, "not told"))

    return say


@pytest.mark.parametrize("held", [{"bf16": 2}, {"f32": 4, "f16": 2}])
def test_plain_weights_must_say_the_same(served, held):
    near = served((-2.0, -1.05), held=held)
    assert probe(near, build(Said((-2.0, -1.0), ())), ENGINE) == pytest.approx(0.05)
    with pytest.raises(EngineFault, match=r"is 0\.5 nats per token away .* where 0\.1 is much"):
        probe(served((-2.5, -0.5), held=held), build(Said((-2.0, -1.0), ())), ENGINE)
    one = served((-2.0, -1.0, -1.2), held=held)  # as of a wrong begin token, which one text has
    with pytest.raises(EngineFault, match=r"is 0\.2 nats per token away"):
        probe(one, build(Said((-2.0, -1.0, -1.0), ())), ENGINE)
    last = served((-2.5, float("nan")), held=held)
    with pytest.raises(EngineFault, match="nan nats"):
        probe(last, build(Said((-2.0, -1.0), ())), ENGINE)
    with pytest.raises(EngineFault, match="nan nats"):
        probe(served((float("nan"), -1.0), held=held), build(Said((-2.0, -1.0), ())), ENGINE)


def test_quantized_ones_are_told_apart_and_no_more(served):
    far = served((-2.5, -0.5), held={"q4_0": 1, "f32": 1})
    assert probe(far, build(Said((-2.0, -1.0), ())), ENGINE) == pytest.approx(0.5)


def test_at_a_url_it_must_be_the_model_by_its_distance_or_by_how_it_goes_on(served):
    known = build(Said((-2.0,), (" degrees Celsius", " six")))
    assert probe(served((-2.5,)), known, ENGINE) == pytest.approx(0.5)
    with pytest.raises(UserError, match=r"serves is not m \(on a known text it is 3 nats"):
        probe(served((-5.0,)), known, ENGINE)
    assert probe(served(texts=(" degrees and", " other")), known, ENGINE) is None
    with pytest.raises(
        UserError, match=r"serves is not m \(it goes on with known texts otherwise\)"
    ):
        probe(served(texts=(" of", "")), known, ENGINE)


def test_an_engine_in_process_is_its_own_measure(served):
    assert probe(served((-9.0,)), build(Said((-2.0,), ())), Transformers()) is None
    assert expectation(build(None), Transformers(), CPU) is None
    assert kept_expectation(build(None), Transformers(), CPU, "hash") is None


def test_what_the_plain_model_says_is_kept_by_its_content(tmp_path, monkeypatch, tiny_directory):
    monkeypatch.setenv("GREENBENCH_CACHE", str(tmp_path / "cache"))
    spec = ModelSpec("tiny", Source.local, path=str(tiny_directory))
    plain = Build(spec, "safetensors", tiny_directory, tiny_directory)
    first = kept_expectation(plain, ENGINE, CPU, "hash")
    assert len(first.nats) == 3
    loads = []

    @contextmanager
    def loaded(self, build, machine):
        loads.append(build)
        raise AssertionError("it was to be kept")
        yield

    monkeypatch.setattr(Transformers, "serve", loaded)
    assert kept_expectation(plain, ENGINE, CPU, "hash") == first
    with pytest.raises(AssertionError):
        kept_expectation(plain, ENGINE, CPU, "another hash")
    assert len(loads) == 1


def test_a_live_module_is_asked_as_it_is(tiny_directory):
    spec = ModelSpec("tiny", Source.local, path=str(tiny_directory))
    model = tiny_llama()
    model.resize_token_embeddings(49152)
    found = expectation(Build(spec, "module", model, tiny_directory), ENGINE, CPU)
    assert len(found.nats) == 3
    assert all(nats < 0 for nats in found.nats)
