"""What a run's story keeps of itself, and what it lets go of."""

import gc
import time
import weakref
from dataclasses import replace

import pytest
from helpers.tiny import tiny_llama
from torch import nn

from greenbench.engines.engine import Build
from greenbench.engines.transformers.engine import Transformers
from greenbench.machine.detect import Machine
from greenbench.machine.processes import OwnProcesses
from greenbench.measure.pair import InTurn, Together
from greenbench.meters import OpenMeters
from greenbench.run.workbench import Bench, Stages

CPU = Machine("cpu", "some CPU", 1 << 34)


def test_a_stage_within_another_is_not_counted_twice(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    stages = Stages(lambda *_: None)
    with stages("score"), stages("load"):
        pass
    assert stages.seconds == {"score": 1.0 + 3.0, "load": 2.0}


class Knotted(nn.Module):
    """Marks a model that holds on to itself, as models do whose blocks were given another forward."""


@pytest.fixture
def alive(tiny_directory):
    """Serves knotted models by the engine of this process; the marks of those that live."""
    from greenbench.campaign.compose import plan

    (job,) = plan(["model=local", f"model.path={tiny_directory}"], multirun=False)
    spec = replace(job.spec, engine=Transformers())
    bench = Bench(spec, CPU, OpenMeters(), OwnProcesses())
    marks = weakref.WeakSet()

    def make():
        model, mark = tiny_llama(), Knotted()
        model.mark, vars(mark)["owner"] = mark, model
        vars(model)["itself"] = model
        marks.add(mark)
        return Build(spec.model, "module", model, tiny_directory)

    return marks, make, lambda who, build: bench.serve(Stages(lambda *_: None), who, build)


def test_together_nothing_is_left_of_the_models_when_they_have_ended(alive):
    marks, make, serve = alive
    gc.disable()
    try:
        with Together(serve, {"baseline": make, "candidate": make}) as both:
            both.fill()
            assert len(marks) == 2
        assert not marks
    finally:
        gc.enable()


def test_in_turn_one_model_is_gone_before_the_next_is_made(alive):
    marks, make, serve = alive
    before = []

    def counted():
        before.append(len(marks))
        return make()

    gc.disable()
    try:
        with InTurn(serve, {"baseline": counted, "candidate": counted}) as turns:
            for who in ("baseline", "candidate", "baseline"):
                with turns.use(who):
                    pass
        assert before == [0, 0, 0]
        assert not marks
    finally:
        gc.enable()
