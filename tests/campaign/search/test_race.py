"""A race through records: who takes part, what is asked for, and what is said at its end."""

from dataclasses import replace
from functools import partial
from math import prod

import pytest
from helpers import examples

from greenbench.analysis.choices.needs import Needs
from greenbench.campaign.search import rounds
from greenbench.campaign.search.field import field
from greenbench.campaign.search.race import race
from greenbench.campaign.search.spending import Budget, Cost, Outlook, Ran, budget
from greenbench.cli.race import told
from greenbench.errors import Unsupported, UserError
from greenbench.quality.tasks.lookup import items_of
from greenbench.run import preflight
from greenbench.schema.metrics import ENERGY_PER_TOKEN, TOKENS_PER_S
from greenbench.stats.contenders import Entry

WORDS = [
    "technique=int8_bnb,prune_wanda,gptq",
    "technique.prune_wanda.sparsity=0.3,0.5",
    "device=cpu",
]
ANY = Needs(quality_loss=100.0)


class Runs:
    """Asks for runs whose ratio is the product of their techniques'; `lost`: of all answers, evenly."""

    def __init__(self, ratios, lost=0.0, **changes):
        self.ratios, self.lost, self.changes, self.asked = ratios, lost, changes, []

    def __call__(self, words):
        said = dict(word.split("=", 1) for word in words)
        names = said["technique"].strip("[]").split(",")
        self.asked.append(said)
        if "refused" in names:
            raise Unsupported("technique=refused has no kernel here.")
        ratio = self.ratios.get("+".join(names), prod(self.ratios.get(name, 1) for name in names))
        items = int(said.get("task.items", 25))
        found = examples.completed(
            " + ".join(names), energy=ratio, speed=1 / ratio, task={"items": items}, **self.changes
        )
        each = range(items or 1000)
        after = [float(int(i * self.lost) == int((i + 1) * self.lost)) for i in each]
        tasks = ("arc_easy", "sciq", "piqa", "sst2")
        plain = [1.0 for _ in each]
        scores = [
            examples.task_score(task, "acc", "fraction", plain, after, plain) for task in tasks
        ]
        changed = {"stages_s": {"total": 100.0, "score": 20.0}, "quality": scores}
        return [found.model_copy(update=changed)]


@pytest.fixture(scope="module")
def three():
    return field(["technique=fp32,gptq,prune_depth", "device=cpu"])


@pytest.fixture
def raced(three):
    """A race of those named among three, and what was said meanwhile."""

    def run(runs, *names, wanted=ANY, most=None):
        said = []
        entries = [each for each in three.entries[:3] if not names or set(each.parts) <= set(names)]
        return race(three._replace(entries=entries), runs, wanted, most, said.append), said

    return run


@pytest.fixture(scope="module")
def known():
    return field(WORDS)


def test_the_field_is_every_technique_with_each_of_its_knobs_values(known):
    assert [entry.parts for entry in known.entries[:4]] == [
        ("int8_bnb",), ("prune_wanda(sparsity=0.3)",), ("prune_wanda(sparsity=0.5)",), ("gptq",),
    ]  # fmt: skip
    assert known.words(known.entries[1]) == [
        "device=cpu", "technique=[prune_wanda]", "technique.prune_wanda.sparsity=0.3",
    ]  # fmt: skip


def test_stacks_have_each_technique_once_in_an_order_that_can_be(known):
    """Weights that are packed cannot be pruned."""
    int8, small, large, gptq = known.entries[:4]
    assert known.stacked(small, large) is None
    assert known.stacked(int8, gptq) is None
    both = known.stacked(int8, small)
    assert both.parts == ("prune_wanda(sparsity=0.3)", "int8_bnb")
    assert known.stacked(small, int8) is both
    assert known.label(both) == "prune_wanda(sparsity=0.3) + int8_bnb"


def test_a_variant_takes_the_knobs_of_its_technique():
    found = field(
        ["technique=prune_depth_heal", "technique.prune_depth.fraction=0.1,0.2", "device=cpu"]
    )
    assert [entry.parts for entry in found.entries] == [
        ("prune_depth_heal(fraction=0.1)",), ("prune_depth_heal(fraction=0.2)",),
    ]  # fmt: skip


def test_batches_and_engines_are_places():
    found = field(["technique=gptq", "workload.batch_size=1,8", "device=cpu"])
    assert [entry.place for entry in found.entries] == [
        "workload.batch_size=1",
        "workload.batch_size=8",
    ]
    assert found.label(found.entries[1]) == "gptq, workload.batch_size=8"
    assert "workload.batch_size=8" in found.words(found.entries[1])


def test_where_no_technique_is_named_those_of_the_frontier_take_part():
    names = [entry.parts for entry in field(["device=cpu"]).entries]
    assert ("int8_bnb",) in names
    assert ("to_llama_cpp", "q4_0") in names
    assert () not in names


@pytest.mark.parametrize(
    ("words", "said"),
    [(["technique=gptqq"], "did you mean gptq"),
     (["technique=gptq", "technique.prune_depth.fraction=0.1"], "and prune_depth is no candidate"),
     (["technique=gptq", "sessions=3"], "each round is a session of its own: leave it out"),
     (["technique=gptq", "task.items=10,20"], "asks for several values, and a race chooses among techniques"),
     (["technique=none"], "alone is no race"),
     (["technique=[gptq"], "cannot be read")],
)  # fmt: skip
def test_a_field_that_cannot_be_is_one_sentence(words, said):
    with pytest.raises(UserError, match=said):
        field([*words, "device=cpu"])


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2h", Budget(7200, "s")), ("90min", Budget(5400, "s")), ("5MJ", Budget(5e6, "J")),
     ("0.5 kWh", Budget(1.8e6, "J"))],
)  # fmt: skip
def test_a_budget_is_time_or_joules(text, amount):
    assert budget(text) == amount


@pytest.mark.parametrize("text", ["2", "h", "-2h", "0h", "2 weeks", "5mJ", "infh"])
def test_what_is_no_budget_is_one_sentence(text):
    with pytest.raises(UserError, match="is no amount: say how long, as 2h"):
        budget(text)


def test_one_more_run_takes_as_long_as_its_last_by_how_many_items_it_is_asked():
    outlook = Outlook()
    assert outlook.takes("a", 25, "s") is None
    outlook.add("a", Ran(Cost(100, 1000), Cost(20, 100), 25))
    assert outlook.takes("a", 50, "s") == 120
    assert outlook.takes("a", 50, "J") == 1100
    outlook.add("a", Ran(Cost(180, 1400), Cost(100, 500), 125))
    assert outlook.takes("a", 25, "s") == 100
    assert outlook.takes("b", 25, "s") == 100


def test_all_items_of_a_task_are_as_many_as_its_file_counts(known):
    task = known.jobs[""].spec.task
    assert items_of(replace(task, names=["sciq"]), 0) == 1000
    assert items_of(replace(task, names=["sciq"]), 2000) == 1000
    assert items_of(replace(task, names=["sciq", "their_own"], items=50), 0) == (1000 + 500) / 2


def test_the_best_stack_is_found_and_all_that_was_asked_are_sessions_of_ordinary_runs(raced):
    runs = Runs({"fp32": 1.2, "gptq": 0.5, "prune_depth": 0.8})
    found, said = raced(runs)
    assert found.metric is ENERGY_PER_TOKEN
    best = found.race.board.best
    assert best.parts == ("gptq", "prune_depth")
    assert {each["session"] for each in runs.asked} == {"1"}
    assert {each["protocol.max_blocks"] for each in runs.asked} == {"5"}
    assert {each["protocol.profile"] for each in runs.asked} == {"never"}
    assert len(said) == len(runs.asked) == 4
    assert said[-1].startswith("greenbench: race, run 4: gptq + prune_depth, round 1; ")
    lines = told(found)
    assert lines[0].startswith("fp32: 1 round, 1.")
    assert "beaten by gptq + prune_depth" in lines[0]
    assert "Best: gptq + prune_depth, 0.40" in "\n".join(lines)
    assert found.cost.seconds == 400
    plain_j = 40 * 2 * (0.5 + 31 * 0.05) / 64 * 1.005  # watts and seconds of the factory's windows
    assert found.tokens == pytest.approx(found.cost.joules / (plain_j * (1 - 0.4)))
    assert lines[-1].endswith(", saved again after 2,910 tokens at least (45.4 requests of 64).")
    assert " in its windows by nvml, " in lines[-1]


def test_a_budget_ends_it_and_what_is_undecided_is_said(raced):
    runs = Runs({"fp32": 1.2, "gptq": 0.5, "prune_depth": 0.505})
    found, said = raced(runs, most=Budget(350, "s"))
    assert found.race.spent_out
    assert len(runs.asked) == 3
    assert "The budget ended first: undecided between it and prune_depth." in "\n".join(told(found))
    assert "200 s of 350 s spent" in said[-1] or "3 min of 6 min spent" in said[-1]


def test_estimates_are_raced_by_speed_and_said_to_be_so(raced):
    runs = Runs({"fp32": 1.2, "gptq": 0.5, "prune_depth": 0.8}, source=examples.ESTIMATE)
    found, said = raced(runs, most=Budget(500, "s"))
    assert found.metric is TOKENS_PER_S
    assert "by tokens per second, as joules are estimated here" in "\n".join(said)
    assert found.tokens is None
    lines = told(found)
    assert "of the baseline's time per token" in "\n".join(lines)
    assert lines[-1].endswith("When that pays back is not said, as joules are not measured.")
    assert "≈" in lines[-1]


def test_what_is_refused_is_out_with_the_reason_and_a_race_of_such_alone_is_one_sentence(three):
    runs = Runs({"fp32": 0.9, "gptq": 0.5})
    refused = Entry(("refused",))
    parts = {**three.parts, "refused": three.parts["fp32"]._replace(name="refused")}
    known = three._replace(parts=parts, entries=[*three.entries[:2], refused])
    found = race(known, runs, ANY, None, lambda text: None)
    assert found.race.failed == {refused: "technique=refused has no kernel here."}
    assert "refused: not measured: technique=refused has no kernel here." in told(found)
    alone = known._replace(entries=[refused])
    with pytest.raises(UserError, match="No candidate could be measured: technique=refused"):
        race(alone, runs, ANY, None, lambda text: None)


def test_a_quality_that_is_not_shown_is_asked_more_items(raced):
    runs = Runs({"fp32": 0.9, "gptq": 0.5}, lost=0.012)
    found, _ = raced(runs, "gptq", wanted=Needs(quality_loss=2.5))
    items = [each.get("task.items") for each in runs.asked]
    assert items[0] is None
    assert items[1] not in {None, "0"}
    assert items[-1] == "0"
    assert "The limit of quality is shown to be kept." in told(found)


def test_all_items_are_asked_once_and_a_closer_look_goes_on_without(raced):
    ratios = {"gptq": 0.5, "prune_depth": 0.505, "gptq+prune_depth": 0.9, "prune_depth+gptq": 0.9}
    runs = Runs(ratios, lost=0.016)
    raced(runs, "gptq", "prune_depth", wanted=Needs(quality_loss=2.0))
    for name in ("[gptq]", "[prune_depth]"):
        asked = [each.get("task.items") for each in runs.asked if each["technique"] == name]
        assert asked.count("0") <= 1
        assert len(asked) > 3


def test_a_run_that_cannot_start_ends_the_race_and_one_that_is_refused_does_not(three, monkeypatch):
    def full(words):
        raise UserError("The results directory cannot take 8 MiB.")

    with pytest.raises(UserError, match="cannot take 8 MiB"):
        race(three, full, ANY, None, lambda text: None)
    monkeypatch.setattr(preflight, "refuse", lambda spec: full(()))
    with pytest.raises(UserError, match="No candidate could be measured: The results directory"):
        race(three, full, ANY, None, lambda text: None)


def test_an_invalid_first_session_is_measured_again(raced):
    runs = Runs({"fp32": 0.9, "gptq": 0.5})

    def spoils(words):
        found = runs(words)
        spoilt = len(runs.asked) == 1
        return [found[0].model_copy(update={"validity": "invalid"} if spoilt else {})]

    found, _ = raced(spoils, "fp32", "gptq")
    assert not found.race.failed
    assert [each["session"] for each in runs.asked[:3]] == ["1", "1", "2"]


def test_a_latency_that_grows_breaks_its_limit_and_one_that_no_one_sees_is_a_reason(
    raced, monkeypatch
):
    wanted = Needs(quality_loss=100.0, token_ms=1e6)

    def silent(words):
        (found,) = Runs({"gptq": 0.5})(words)
        windows = [window.model_copy(update={"tpot": None}) for window in found.windows]
        return [found.model_copy(update={"windows": windows})]

    with pytest.raises(UserError, match="it has no time per output token"):
        raced(silent, "gptq", wanted=wanted)
    monkeypatch.setattr(rounds, "unbounded", lambda windows, who, reading: who == "candidate")
    found, _ = raced(Runs({"gptq": 0.5}), "gptq", wanted=wanted)
    assert found.race.board.best == Entry(())
    assert "breaks the limit of time per output token" in told(found)[0]


def test_a_run_has_no_longer_than_is_left(raced):
    runs = Runs({"fp32": 1.2, "gptq": 0.5, "prune_depth": 0.8})
    raced(runs, most=Budget(3650, "s"))
    assert [each.get("protocol.time_limit_s") for each in runs.asked[:3]] == [None, "3550", "3450"]


def test_where_runs_are_sent_elsewhere_nothing_is_asked_of_the_device_here():
    with pytest.raises(UserError, match="What runs on slurm's machines hangs on their device"):
        field(["launcher=slurm"])
    sent = field(["launcher=slurm", "technique=gptq", "meter=estimate"])
    with pytest.raises(ZeroDivisionError):
        race(sent, lambda words: 1 / 0, ANY, budget("5MJ"), lambda text: None)


def test_joules_as_a_budget_need_a_meter():
    ask = partial(pytest.fail, "nothing may run")
    with pytest.raises(UserError, match="counts joules, which are estimated here: say how long"):
        race(
            field(["technique=gptq", "device=cpu", "meter=estimate"]),
            ask,
            ANY,
            budget("5MJ"),
            print,
        )
