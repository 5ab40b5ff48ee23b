"""What a load asks of the engines before they start."""

import pytest

from greenbench.campaign.compose import plan
from greenbench.engines.llama_cpp.engine import LlamaCpp
from greenbench.engines.transformers.engine import Transformers
from greenbench.run.loads import at_most

TRACE = "time_s,prompt_tokens,output_tokens\n0,90000,9000\n1,100000,9000\n2,100000,9000\n"


@pytest.fixture
def followed(tmp_path):
    """Overrides of a load that follows a trace of long requests."""
    path = tmp_path / "long.csv"
    path.write_text(TRACE)
    return ["load.arrivals=trace", f"load.trace={path}", "load.lengths=trace", "load.rate=1"]


def asked(overrides, **engines):
    """What the servers of a run must be ready for."""
    work = ["workload=online", "workload.prompt_tokens=64", "workload.output_tokens=32"]
    (job,) = plan(["technique=none", *work, *overrides], multirun=False)
    return at_most(job.spec, engines)


def test_requests_of_a_trace_are_as_long_as_both_engines_take(followed):
    small, large = LlamaCpp(context=512), LlamaCpp(context=4096)
    assert asked(followed, baseline=small, candidate=small) == (16, 512)
    assert asked(followed, baseline=large, candidate=small) == (16, 512)
    assert asked(followed, baseline=Transformers(), candidate=large) == (16, 4096)
    assert asked(followed, baseline=Transformers(), candidate=Transformers()) == (16, 109_000)


def test_those_of_the_workload_have_room_in_any_case(followed):
    tiny = LlamaCpp(context=50)
    assert asked(followed, baseline=tiny, candidate=tiny) == (16, 96)
    assert asked(["load.rate=1"], baseline=tiny, candidate=tiny) == (16, 96)
    assert asked(["load.arrivals=closed"], baseline=tiny, candidate=tiny) == (1, 96)


def test_an_engine_in_process_has_no_context_to_make_room_in_for_answers_in_words():
    words = ["workload.batch_size=4", "task.names=[lambada_words]", "workload=short"]
    (job,) = plan(words, multirun=False)
    engines = dict.fromkeys(("baseline", "candidate"), job.spec.engine)
    work = job.spec.workload
    assert at_most(job.spec, engines) == (4, work.prompt_tokens + work.output_tokens)
