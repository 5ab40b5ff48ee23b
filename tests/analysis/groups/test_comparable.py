"""Settings: a load is named in words, and runs of different loads never share a table."""

from __future__ import annotations

import pytest
from helpers import examples, loads

from greenbench.analysis.groups.comparable import setting
from greenbench.analysis.groups.rows import groups
from greenbench.schema.record import EngineFacts
from greenbench.schema.resolved import ResolvedSpec

ASKED = "online (64 tokens in, 64 out, chat template)"


def load_of(limits=None, **load):
    slo = {} if limits is None else {"slo": limits}
    return setting(loads.completed(load={"rate": None, **load}, **slo)).load


def test_a_closed_run_is_named_as_ever():
    here = setting(examples.completed())
    assert here.load == "closed"
    assert here.title == (
        "smollm2-135m (bfloat16) on Imaginary GPU (cuda) with transformers 5.23.0 (eager), "
        "chat (batch 1, 64 tokens in, 32 out)"
    )


def test_under_load_the_title_says_the_load_and_no_batch():
    here = setting(loads.completed(rates=(0.5, 1, 2)))
    assert here.title.endswith(f"{ASKED}, poisson arrivals at 0.5, 1, 2 requests/s")


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ({"arrivals": "poisson", "rate": 4}, "poisson arrivals at 4 requests/s"),
        ({"arrivals": "poisson", "rate": "sweep"}, "poisson arrivals at rates up to saturation"),
        ({"arrivals": "constant", "rate": 0.25}, "constant arrivals at 0.25 requests/s"),
        ({"arrivals": "gamma", "cv": 3, "rate": 4}, "bursty (gamma, cv 3) at 4 requests/s"),
        ({"arrivals": "gamma", "cv": 0.5, "rate": 4}, "even (gamma, cv 0.5) at 4 requests/s"),
        ({"arrivals": "concurrent", "concurrency": 8}, "8 users"),
        (
            {"arrivals": "concurrent", "concurrency": 8, "shared": 0.5},
            "8 users, the first 50 % of each prompt alike",
        ),
        ({"arrivals": "concurrent", "concurrency": 1}, "1 user"),
        ({"arrivals": "concurrent", "concurrency": [1, 8]}, "1, 8 users"),
        (
            {"arrivals": "trace", "trace": "ab12cd34ef5678", "rate": 2},
            "a trace's arrivals (ab12cd34ef56) at 2 requests/s",
        ),
        ({"arrivals": "trace"}, "a trace's arrivals (GreenBench's own) at its own rate"),
        (
            {"arrivals": "poisson", "rate": 1, "lengths": "lognormal", "spread": 0.7},
            "poisson arrivals at 1 requests/s, lognormal lengths around these (spread 0.7)",
        ),
        (
            {"arrivals": "poisson", "rate": 1, "lengths": "texts", "at_once": 4},
            "poisson arrivals at 1 requests/s, prompts as long as their texts, 4 answered at once",
        ),
    ],
)
def test_a_load_in_words(load, words):
    assert load_of(**load) == words


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"ttft_ms": 500}, "limits TTFT 500 ms for 90 %"),
        ({"tpot_ms": 50, "share": 0.99}, "limits TPOT 50 ms for 99 %"),
        ({"ttft_ms": 500, "tpot_ms": 50}, "limits TTFT 500 ms and TPOT 50 ms for 90 %"),
    ],
)
def test_limits_are_part_of_it(limits, words):
    assert load_of(limits, arrivals="poisson", rate=4).endswith(f", {words}")


def test_runs_of_different_loads_never_share_a_table():
    runs = [
        examples.completed(device=examples.CPU, source=loads.RAPL),
        loads.completed(rates=(10.0,)),
        loads.completed(rates=(2.0,)),
        loads.completed(rates=(2.0,), limits=True),
        loads.completed("int8", rates=(2.0,)),
    ]
    found = groups(runs)
    assert [len(group.rows) for group in found] == [1, 2, 1, 1]
    rates = [group.setting.load.partition(" at ")[2] for group in found[1:]]
    assert rates[0] == "2 requests/s"
    assert rates[2] == "10 requests/s"


KNOBS = {"context": 4096, "eager": True, "threads": None}


def on(version="0.12", changed=None, **engine):
    facts = EngineFacts(name="vllm", version=version, changed=changed)
    return examples.completed(
        engine=facts, spec=examples.spec("int8", engine={"name": "vllm", **engine})
    )


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (on(changed={"eager": True}, **KNOBS), "vllm 0.12 (eager)"),
        (on(changed={}, **KNOBS), "vllm 0.12"),
        (on(changed={"context": 8192}, **KNOBS), "vllm 0.12 (context=8192)"),
        (on(**KNOBS), "vllm 0.12 (context=4096, eager, threads=None)"),
        (on(None), "vllm"),
        (examples.completed(), "transformers 5.23.0 (eager)"),
        (examples.completed(engine=None), "transformers (eager)"),
        (on(changed={}, **KNOBS | {"eager": False}), "vllm 0.12 (CUDA graphs)"),
        (
            examples.against("compiled", "int8", 0.7),
            "transformers 5.23.0 (compiled, CUDA graphs)",
        ),
        (examples.against("eager", "int8", 0.7), "transformers 5.23.0 (eager)"),
    ],
)
def test_the_heading_says_what_ran_the_models_its_version_how_its_kernels_start_and_what_is_unusual(
    record, said
):
    assert setting(record).place.partition(" with ")[2] == said


def asked(**task):
    plain = examples.spec("int8").model_dump()
    return examples.completed(spec=ResolvedSpec(**plain | {"task": plain["task"] | task}))


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"metric": "f1"}, "metric f1"),
        ({"answer_tokens": 64}, "answers up to 64 tokens"),
        ({"filter": "strict-match"}, "filter strict-match"),
        ({"sampling": "model"}, "answers drawn"),
        ({"chat_template": False}, "no chat template"),
        ({"chat_template": True}, "chat template"),
    ],
)
def test_runs_whose_answers_are_asked_or_compared_otherwise_never_share_a_table(task, said):
    assert len(groups([asked(), asked(**task)])) == 2
    assert setting(asked()).tasks.endswith("-shot)")
    assert setting(asked(**task)).tasks.endswith(f"-shot, {said})")


def test_two_versions_of_an_engine_never_share_a_table():
    assert len(groups([on("0.12"), on("0.13")])) == 2
