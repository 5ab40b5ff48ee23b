"""What a row of a published table asks for, and what can be tested here."""

import pytest

from greenbench.analysis.reproduction.tables import table
from greenbench.campaign.compose import plan
from greenbench.campaign.search.trials import measured, overrides, trials
from greenbench.errors import UserError


def first(name):
    return table(name).rows[0]


def test_a_row_asks_for_its_own_conditions():
    (words,) = overrides(first("bnb-by-size"))
    assert words == (
        "model=hub", "model.id=Qwen/Qwen2-0.5B", "model.dtype=float16", "engine=transformers",
        "workload.batch_size=1", "workload.prompt_tokens=2048", "workload.output_tokens=256",
        "technique=int8_bnb",
    )  # fmt: skip
    (job,) = plan(words, multirun=False)
    assert (job.spec.workload.batch_size, list(job.spec.technique)) == (1, ["int8_bnb"])


@pytest.mark.parametrize(
    "name", ["fp8-by-batch", "speculative-by-batch", "clock-locks", "thinking"]
)
def test_each_kind_of_row_is_a_run(name):
    for words in overrides(first(name)):
        (job,) = plan(words, multirun=False)
        assert job.spec.load.concurrency == first(name).batch
        assert job.spec.workload.batch_size == 1


def test_two_models_are_two_runs():
    one, other = overrides(first("moe-dense"))
    assert {*one} ^ {*other} == {
        "model.id=Qwen/Qwen3-30B-A3B-Instruct-2507", "model.id=Qwen/Qwen3-32B"
    }  # fmt: skip


def test_what_the_user_gives_stands_in_its_place():
    given = ["model=smollm2-135m", "workload.prompt_tokens=64"]
    (words,) = overrides(first("bnb-by-size"), given)
    assert not [word for word in words if word.startswith(("model.", "model=hub"))]
    assert words[-2:] == tuple(given)
    assert sum(word.startswith("workload.prompt_tokens") for word in words) == 1
    with pytest.raises(UserError, match="The table says which technique"):
        overrides(first("bnb-by-size"), ["technique=gptq"])


def test_another_model_is_run_where_the_user_says_so():
    given = ["model=smollm2-135m", "task=smoke", "protocol=smoke", "device=cpu"]
    found = trials(table("bnb-by-size"), given)
    asked = []
    measured(found, lambda words: asked.append(words) or [])
    assert [each.lacks != [] for each in found] == [True] * 10
    assert len(asked) == len(set(asked)) == 2  # of ten rows, that differ in the model alone
