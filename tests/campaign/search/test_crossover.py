"""A search along a key, on runs whose ratios are planted."""

import pytest
from helpers import examples, loads

from greenbench.campaign.compose import plan
from greenbench.campaign.search.crossover import Along, along, crossover
from greenbench.errors import UserError
from greenbench.schema.metrics import ENERGY_PER_TOKEN

BATCHES = Along("workload.batch_size", 1, 64)


class Runs:
    """Asks for a run at a value, whose candidate saves up to `until`; those at `broken` fail."""

    def __init__(self, until, broken=(), key=BATCHES.key):
        self.until, self.broken, self.asked, self.key = until, broken, [], key

    def __call__(self, word):
        key, _, value = word.partition("=")
        assert key == self.key
        self.asked.append(float(value))
        if self.asked[-1] in self.broken:
            return [examples.failed("int8")]
        ratio = (self.asked[-1] / self.until) ** 0.5
        run = examples.completed("int8", energy=ratio, half=0.01 * ratio)
        if key != "load.rate":
            return [run]
        return [loads.completed("int8", rates=[self.asked[-1]], ratios=run.ratios)]


def searched(runs, overrides=("technique=int8",), within=1.3):
    return crossover(runs, overrides, BATCHES, within, lambda text: None)


@pytest.mark.parametrize("until", [1.5, 5.5, 17.5, 50.5])
def test_where_a_technique_stops_saving_is_found_in_half_the_runs_of_a_grid(until):
    runs = Runs(until)
    found = searched(runs)
    (bracket,) = found.found
    assert bracket.low < until < bracket.high
    assert not bracket.rises
    assert found.metric is ENERGY_PER_TOKEN
    assert [place.at for place in found.places] == sorted(runs.asked)
    assert len(set(runs.asked)) == len(runs.asked) <= found.grid / 2


@pytest.mark.parametrize("at", [0.04, 0.3, 0.6, 0.93])
@pytest.mark.parametrize(
    ("text", "more"),
    [("workload.batch_size=1:64", []), ("workload.prompt_tokens=16:4096", []),
     ("workload.output_tokens=8:512", []), ("load.rate=0.25:16", ["workload=online"])],
)  # fmt: skip
def test_along_each_key_the_change_is_found_and_a_value_can_be_asked_for(text, more, at):
    asked = along(text)
    runs = Runs(asked.low * (asked.high / asked.low) ** at * 1.0001, key=asked.key)
    words = []

    def ask(word):
        words.append(word)
        return runs(word)

    found = crossover(ask, ["technique=int8"], asked, 1.3, lambda text: None)
    (bracket,) = found.found
    assert bracket.low < runs.until < bracket.high
    near = asked.whole and bracket.high - bracket.low == 1
    assert near or bracket.high / bracket.low <= 1.3**2  # between them may lie one that is not told
    assert len(runs.asked) <= max(3, found.grid / 2)
    for word in words[2:3] if at == 0.3 else []:
        assert len(plan(["technique=int8_bnb", *more, word], multirun=False)) == 1


def test_where_it_always_saves_nothing_is_found():
    found = searched(Runs(1000))
    assert (found.found, len(found.places)) == ([], 3)
    assert {place.sign for place in found.places} == {1}


def test_a_change_before_an_end_that_does_not_fit_is_found():
    (found,) = searched(Runs(20.5, broken=(64,))).found
    assert found.low < 20.5 < found.high


def test_an_estimate_wins_nothing():
    """Under a load, where the usual speed is that of arrivals."""
    runs = Runs(5.5)

    def guessed(word):
        (record,) = runs(word)
        ratios = {
            name: each.model_copy(update={"provenance": "estimated:model"})
            for name, each in record.ratios.items()
        }
        return [record.model_copy(update={"ratios": ratios})]

    assert searched(guessed).found == []


def test_a_run_that_fails_is_a_place_where_it_is_not_known():
    found = searched(Runs(5.5, broken=(64,)))
    assert found.places[-1].sign == 0
    assert found.places[-1].ratio.reason == "the run has no result"
    assert found.found[0].low < 5.5 < found.found[0].high


@pytest.mark.parametrize(
    "text",
    ["workload.batch_size", "workload.batch_size=4", "batch=1:8", "workload.batch_size=8:1",
     "workload.batch_size=0:8", "workload.batch_size=1:x", "workload.batch_size=1.2.3:8"],
)  # fmt: skip
def test_what_is_no_key_with_two_ends_is_one_sentence(text):
    with pytest.raises(UserError, match=r"is no key with two ends: say workload.batch_size=1:64"):
        along(text)


def test_ends_of_whole_numbers_ask_for_whole_numbers():
    tokens, rate = along("workload.prompt_tokens=1:1048576"), along("load.rate=1:8")
    assert tokens.whole
    assert tokens.told(tokens.high) == "1048576"
    assert not rate.whole
    assert rate.told(2.83) == "2.83"
    bursts = along("load.cv=0.5:4")
    assert not bursts.whole
    assert bursts.told(1.41) == "1.41"


def test_what_cannot_be_searched_is_refused_before_any_run():
    runs = Runs(5)
    with pytest.raises(UserError, match="--within 1 is no factor above 1"):
        searched(runs, within=1)
    with pytest.raises(UserError, match="--within nan is no factor above 1"):
        searched(runs, within=float("nan"))
    with pytest.raises(UserError, match="is searched along: leave its own value out"):
        searched(runs, ["technique=int8", "workload.batch_size=8"])
    assert runs.asked == []
    with pytest.raises(UserError, match="A baseline never wins over itself"):
        searched(lambda word: [examples.completed("none")])
