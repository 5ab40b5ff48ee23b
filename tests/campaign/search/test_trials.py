"""What a row of a published table asks for, and what can be tested here."""

import pytest
from helpers import published

from greenbench import engines
from greenbench.analysis.reproduction.tables import names, table
from greenbench.campaign.compose import plan
from greenbench.campaign.runs import Surroundings
from greenbench.campaign.search.trials import measured, overrides, trials
from greenbench.errors import UserError
from greenbench.machine.detect import Machine


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


def on(monkeypatch, machines):
    """This machine is what `machines` say of each device that is asked for."""

    def described(workers, device):
        found = machines[device]
        if isinstance(found, UserError):
            raise found
        return Surroundings(Machine("cuda", found, 80 * 2**30), {})

    module = "greenbench.campaign.search.trials"
    monkeypatch.setattr(f"{module}.describe_here", described)
    monkeypatch.setattr(f"{module}.refused_here", lambda workers, runs: [None] * len(runs))
    monkeypatch.setattr(f"{module}.unreachable", lambda specs: [])


def of_each_kind(rows):
    """One row of those that differ in nothing but a number."""
    return list({
        (row.model, row.device, row.engine, row.technique, row.dtype, row.apart, row.metric): row
        for row in rows
    }.values())  # fmt: skip


@pytest.mark.parametrize("name", names())
def test_every_table_can_be_planned_where_its_numbers_are_from(name, monkeypatch):
    shipped = table(name)
    for device in {row.device for row in shipped.rows}:
        on(monkeypatch, {"auto": device, "cuda_all": device})
        rows = of_each_kind(row for row in shipped.rows if row.device == device)
        for each in trials(shipped.model_copy(update={"rows": rows})):
            strange = each.row.engine not in engines.named()
            apart = [each.row.apart] if each.row.apart else []
            assert (len(each.lacks) - strange, bool(each.refused)) == (len(apart), strange)
            assert each.runnable is not bool(strange or apart)


def test_a_row_of_which_no_run_can_be_made_is_refused_with_the_reason(monkeypatch, tmp_path):
    on(monkeypatch, {"auto": "NVIDIA H100"})
    rows = [{"after": 0.7, "model": "a model of 70 billion parameters"}, {"after": 0.7}]
    common = {"technique": "dtype", "device": "NVIDIA H100"}
    found = trials(published.table(tmp_path, *rows, **common))
    assert [each.runnable for each in found] == [False, True]
    assert "a model of 70 billion parameters" in found[0].refused[0]
    with pytest.raises(UserError, match="blokcs"):
        trials(published.table(tmp_path, *rows, **common), ["protocol.blokcs=3"])


def test_all_gpus_are_looked_at_for_a_row_of_several(monkeypatch):
    shipped = table("fp8-awq-speed-by-batch")
    one, other = shipped.rows[0], next(row for row in shipped.rows if row.device == "NVIDIA L4")
    some = shipped.model_copy(update={"rows": [one, other]})
    on(monkeypatch, {"auto": "NVIDIA H100 80GB HBM3", "cuda_all": "8 x NVIDIA H100 80GB HBM3"})
    assert [each.runnable for each in trials(some)] == [True, False]
    on(monkeypatch, {"auto": "NVIDIA L4", "cuda_all": UserError("torch sees no CUDA device here")})
    first, second = trials(some)
    assert (first.runnable, first.refused) == (False, ["torch sees no CUDA device here"])
    assert second.runnable
    with pytest.raises(UserError, match="no CUDA"):
        trials(some, ["device=cuda_all"])
