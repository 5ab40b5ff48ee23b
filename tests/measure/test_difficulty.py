"""Energy by difficulty: thirds, windows apart from the blocks, and numbers, against closed forms."""

import random
from collections import Counter
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from helpers import factory
from helpers.answers import FACTORS, answer, campaign, score
from helpers.answers import difficulty as difficulty_of
from helpers.served import together
from helpers.windows import Watts
from hypothesis import given
from hypothesis import strategies as st

from greenbench.analysis import counts as counts_
from greenbench.analysis import difficulty as difficulty_
from greenbench.analysis import disturbances
from greenbench.analysis.blocks import block_ratios, valid_blocks
from greenbench.analysis.difficulty import BINS, NEW_TOKENS, Question, summarise
from greenbench.analysis.idle import idle_power
from greenbench.campaign.compose import plan
from greenbench.engines.engine import Completion
from greenbench.measure import difficulty, schedule
from greenbench.measure.recorder import Recorder
from greenbench.meters import OpenMeters
from greenbench.models.parts import decoder_blocks
from greenbench.schema.quality import Item
from greenbench.schema.window import WHO, Place
from greenbench.techniques import discover
from greenbench.techniques.early_exit.depth_tally import Tally, costs
from greenbench.techniques.early_exit.forward import Exiting, Rule
from greenbench.techniques.early_exit.heads import ExitHead

PLACE = Place(series="round", unit=4, position=0, bin="easy")

margins = st.lists(st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.5, 7.0])), max_size=25)


@given(st.lists(margins, max_size=3), st.randoms(use_true_random=False))
def test_thirds_rank_margins_within_their_task_whatever_the_order(tasks, dice):
    quality = [score(f"task{n}", each) for n, each in enumerate(tasks)]
    found = difficulty_.thirds(quality)
    for n, each in enumerate(tasks):
        third = {name: [q.item for q in found[name] if q.score.task == f"task{n}"] for name in BINS}
        known = [margin for margin in each if margin is not None]
        sizes = [len(third[name]) for name in BINS]
        # The outer thirds are equal, and the middle one takes what 3 leaves over or lacks.
        outer = (len(known) + 1) // 3
        assert sizes == [outer, len(known) - 2 * outer, outer]
        ranked = [(-item.margin, item.index) for name in BINS for item in third[name]]
        assert ranked == sorted(ranked)
        assert len(ranked) == len(set(ranked)) == len(known)
    shuffled = [s.model_copy(update={"items": dice.sample(s.items, len(s.items))}) for s in quality]
    again = difficulty_.thirds(dice.sample(shuffled, len(shuffled)))
    assert {name: [q.key for q in found[name]] for name in BINS} == {
        name: [q.key for q in again[name]] for name in BINS
    }


def test_the_widest_margins_are_the_easy_questions():
    found = difficulty_.thirds([score("a", [0.1, 3.0, 1.0]), score("b", [9.0, None, 8.0, 7.0])])
    keys = {name: [question.key for question in found[name]] for name in BINS}
    assert keys == {
        "easy": [("a", 1), ("b", 0)], "medium": [("a", 2), ("b", 2)], "hard": [("a", 0), ("b", 3)],
    }  # fmt: skip


counts = st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))
tallies = st.fixed_dictionaries({"tokens": st.integers(0, 99), "by": counts})


@given(st.lists(tallies, min_size=1, max_size=5))
def test_what_was_added_step_by_step_sums_to_the_whole(steps):
    so_far = [{"x": {"tokens": 0, "by": {}, "rate": 0.5, "said": "no count"}}]
    for step in steps:
        before = deepcopy(so_far[-1])
        before["x"]["tokens"] += step["tokens"]
        for name, more in step["by"].items():
            before["x"]["by"][name] = before["x"]["by"].get(name, 0) + more
        so_far.append(before)
    parts = [counts_.added(a, b) for a, b in pairwise(so_far)]
    assert counts_.total(parts) == counts_.added(so_far[0], so_far[-1])
    assert set(parts[0]["x"]) == {"tokens", "by"}


def test_each_round_takes_every_third_and_model_once_in_random_order():
    cells = difficulty.schedule(60, random.Random(0))
    orders = [[c for c in cells if c.round == number] for number in range(60)]
    every = {(name, who) for name in BINS for who in WHO}
    assert all({(c.bin, c.who) for c in order} == every for order in orders)
    assert all([c.position for c in order] == list(range(6)) for order in orders)
    firsts = Counter((order[0].bin, order[0].who) for order in orders)
    assert set(firsts) == every


def test_techniques_whose_work_depends_on_the_input_say_so():
    made = [cls() for name, cls in discover().items() if name != "dtype"]  # which has no default
    dynamic = {technique.name for technique in made if technique.traits().dynamic}
    drafts = {
        "draft_model", "eagle", "ngram", "self_speculative", "speculative", "prompt_lookup",
    }  # fmt: skip
    assert dynamic == {"activation_sparsity", "early_exit"} | drafts


class Stage:
    """The stage on the tiny model, whose candidate's tokens leave after 1 or 3 of its 4 blocks."""

    def __init__(self, baseline, candidate):
        heads = {place: self.head(candidate, place) for place in (1, 3)}
        self.tally = Tally({}, costs(candidate), len(decoder_blocks(candidate)))
        Exiting(candidate, heads, Rule("classifier", 0.5), self.tally)
        self.snapshots = []
        self.recorder = Recorder(OpenMeters(meters=[Watts(100.0)]))
        self.quality = [score("a", [0.1, 3.0, 1.0, 0.4]), score("b", [9.0, 8.0, 7.0])]
        dice = random.Random(3)
        prompts = {
            (s.task, item.index): [dice.randrange(3, 256) for _ in range(dice.randrange(4, 12))]
            for s in self.quality
            for item in s.items
        }
        spec = plan(["model=local", "model.path=.", "protocol=smoke"], multirun=False)[0].spec
        self.protocol = replace(spec.protocol, window_s=0, min_iterations=2, blocks=3, max_blocks=3)
        models = together(baseline, candidate)
        self.asked = difficulty.ask(
            self.recorder, models, self.quality, prompts, self.protocol, 0, self.counted,
            lambda done, total: None,
        )  # fmt: skip
        self.windows = self.recorder.windows

    @staticmethod
    def head(model, place):
        """Sure of about half of the tokens."""
        torch.manual_seed(place)
        head = ExitHead(model.config.hidden_size, "affine", 0)
        for weight in head.parameters():
            weight.data.normal_(std=1.0)
        return head.requires_grad_(False)

    def counted(self):
        self.snapshots.append({"early_exit": deepcopy(self.tally.observed)})
        return self.snapshots[-1]


@pytest.fixture(scope="module")
def stage():
    from helpers.tiny import tiny_llama

    return Stage(tiny_llama().requires_grad_(False), tiny_llama().requires_grad_(False))


def test_both_models_answer_the_same_questions_in_windows_of_their_own(stage):
    cells = Counter((w.phase, w.place.unit, w.place.bin, w.who) for w in stage.windows)
    assert cells == Counter(
        ("answer", number, name, who) for number in range(3) for name in BINS for who in WHO
    )
    for number in range(3):
        for name in BINS:
            one, other = (w for w in stage.windows if (w.place.unit, w.place.bin) == (number, name))
            assert one.iterations == other.iterations == 2
            assert one.prompt_tokens == other.prompt_tokens
            assert one.tokens == other.tokens == 2 * NEW_TOKENS
    assert {w.block for w in stage.windows} == {None}


def test_a_window_of_so_many_answers_is_neither_filled_up_nor_cut():
    recorder = Recorder(OpenMeters())
    moment = Completion(1, 1, 0.0, (0.001,), 0.001)
    window = recorder.repeat(
        "answer",
        "baseline",
        None,
        lambda index: [moment],
        window_s=0.2,
        exactly=3,
        place=PLACE,
    )
    assert (window.iterations, window.place, window.block) == (3, PLACE, None)


def test_exit_depths_of_the_thirds_sum_to_the_tally(stage):
    found = summarise(stage.asked, stage.windows, "smoke", "valid", "")
    parts = [third.observed["early_exit"] for third in found.bins]
    whole = counts_.added(stage.snapshots[0], stage.snapshots[-1])["early_exit"]
    assert counts_.total(parts) == whole
    assert len(whole["tokens_by_depth"]) > 1  # else this shows little
    for third, part in zip(found.bins, parts, strict=True):
        # the first token of an answer comes with the prompt, which takes all blocks
        assert part["tokens"] == sum(part["tokens_by_depth"].values()) == 6 * (NEW_TOKENS - 1)
        assert third.asked == third.items == third.mean_depth.n
        assert 1 <= third.mean_depth.value <= 4
        assert third.accepted_per_pass.value is None


def test_the_time_of_an_answer_is_that_of_its_windows(stage):
    found = summarise(stage.asked, stage.windows, "smoke", "valid", "")
    easy = [w for w in stage.windows if (w.place.bin, w.who) == ("easy", "candidate")]
    seconds = torch.tensor([sum(w.iteration_s) / 2 for w in easy])
    assert found.bins[0].candidate["seconds_per_answer"].value == pytest.approx(
        seconds.log().mean().exp().item(), rel=1e-5
    )
    assert found.bins[0].candidate["accuracy"].value == 0


def test_prompts_are_cut_to_the_models_length(tiny):
    recorder = Recorder(OpenMeters())
    quality = [score("a", [3.0, 2.0, 1.0])]
    prompts = {("a", index): [5] * 300 for index in range(3)}
    spec = plan(["model=local", "model.path=.", "protocol=smoke"], multirun=False)[0].spec
    brief = replace(spec.protocol, window_s=0, blocks=1, max_blocks=1)
    models = together(tiny, tiny)
    difficulty.ask(recorder, models, quality, prompts, brief, 0, dict, lambda done, total: None)
    room = tiny.config.max_position_embeddings - NEW_TOKENS
    assert {w.prompt_tokens for w in recorder.windows} == {room}


class Paced:
    """A pair of which each model says that an answer took so long; the first one of each 20 times that."""

    def __init__(self, **seconds):
        self.seconds, self.answers = seconds, Counter()

    @contextmanager
    def use(self, who):
        def complete(batch):
            self.answers[who] += 1
            spent_s = self.seconds[who] * (20 if self.answers[who] == 1 else 1)
            return [Completion(1, 1, 0.0, (spent_s,), spent_s)]

        yield SimpleNamespace(complete=complete, max_tokens=None)


@pytest.mark.parametrize(("shortest_s", "answers"), [(0.0, 4), (1.1, 121)])
def test_a_slow_candidate_does_not_make_the_windows_of_a_fast_baseline_too_short(
    shortest_s, answers
):
    """Four windows of 2 s for answers of 2 s; or as many answers of 10 ms as 1.1 s hold, and a tenth more."""
    spec = plan(["model=local", "model.path=.", "protocol=smoke"], multirun=False)[0].spec
    brief = replace(spec.protocol, window_s=2.0, min_iterations=1)
    pair = Paced(baseline=0.01, candidate=2.0)
    assert difficulty._answers(pair, [[5] * 30], brief, shortest_s) == answers


def test_too_few_items_with_choices_are_a_reason():
    asked = difficulty.ask(None, None, [score("a", [1.0, 2.0, None])], {}, None, 0, dict, print)
    found = summarise(asked, [], "dev", "valid", "")
    assert "too few items" in found.reason
    assert found.bins == []


def test_drift_cancels_and_easy_over_hard_is_a_ratio_of_ratios():
    found = difficulty_of(campaign())
    for third in found.bins:
        for ratio in ("energy_per_answer", "seconds_per_answer"):
            assert third.ratios[ratio].value == pytest.approx(FACTORS[third.bin], rel=1e-5)
        assert third.baseline["energy_per_answer_j"].value / third.baseline[
            "energy_per_token_j"
        ].value == pytest.approx(16)
        assert third.accepted_per_pass.value == 1
        assert third.mean_depth.reason == "no technique here exits early"
        assert (third.items, third.asked, third.prompt_tokens) == (2, 2, 20)
    assert [third.margins[0].value for third in found.bins] == [5.5, 3.5, 1.5]
    assert found.easy_over_hard["energy_per_answer"].value == pytest.approx(0.8)
    assert found.easy_over_hard["energy_per_answer"].n == found.rounds == found.of_rounds == 6
    assert found.verdicts["energy_per_answer"].verdict == "saves"


def test_a_round_with_an_invalid_window_counts_for_nothing():
    spoiled = [answer("baseline", "medium", 2, 1e6, valid=False)]
    kept = [
        w for w in campaign() if (w.place.unit, w.place.bin, w.who) != (2, "medium", "baseline")
    ]
    found = difficulty_of(kept + spoiled)
    assert (found.rounds, found.of_rounds, found.codes) == (5, 6, ["throttled"])
    assert found.bins[1].ratios["energy_per_answer"].value == pytest.approx(0.7)
    assert found.bins[1].ratios["energy_per_answer"].n == 5


def without_joules(windows):
    return [w.model_copy(update={"energy": [], "energy_reason": "no sun"}) for w in windows]


def test_no_joules_are_null_with_the_reason_and_time_still_speaks():
    found = difficulty_of(without_joules(campaign()))
    assert found.easy_over_hard["energy_per_answer"].reason == "no sun"
    assert found.bins[0].candidate["energy_per_answer_j"].reason == "no sun"
    assert set(found.verdicts) == {"seconds_per_answer"}
    assert found.verdicts["seconds_per_answer"].verdict == "saves"


def test_joules_of_one_model_only_or_below_a_tick_give_no_ratio():
    windows = campaign()
    half = [w if w.who == "baseline" else without_joules([w])[0] for w in windows]
    nothing = [
        answer(w.who, w.place.bin, w.place.unit, 0.0)
        if (w.place.bin, w.place.unit) == ("easy", 1)
        else w
        for w in windows
    ]
    for found in (difficulty_of(half), difficulty_of(nothing)):
        assert found.easy_over_hard["energy_per_answer"].value is None
        assert found.bins[0].ratios["energy_per_answer"].reason
        assert found.easy_over_hard["seconds_per_answer"].value is not None


def test_estimates_and_tier_smoke_claim_nothing():
    guessed = difficulty_of(campaign(source="estimated:model"))
    assert "estimate" in guessed.verdicts["energy_per_answer"].barred
    smoke = difficulty_of(campaign(), "smoke")
    assert all("smoke" in verdict.barred for verdict in smoke.verdicts.values())


def test_one_round_has_numbers_but_no_interval():
    found = difficulty_of(campaign(rounds=1))
    ratio = found.easy_over_hard["energy_per_answer"]
    assert (ratio.value, ratio.low) == (pytest.approx(0.8), None)
    assert ratio.reason == found.verdicts["energy_per_answer"].barred


def test_no_valid_round_leaves_no_number():
    spoiled = [w.model_copy(update={"validity": "invalid"}) for w in campaign()]
    found = difficulty_of(spoiled)
    assert found.rounds == 0
    assert found.bins[0].ratios["seconds_per_answer"].value is None
    assert found.verdicts["energy_per_answer"].verdict == "inconclusive"


def test_nothing_of_it_is_in_the_headline_numbers():
    main = factory.windows()
    spoiled = [w.model_copy(update={"validity": "invalid", "codes": ["x"]}) for w in campaign()]
    for extra in (campaign(), spoiled):
        both = [*main[:5], *extra, *main[5:]]
        kept = valid_blocks(both)
        assert kept == valid_blocks(main)
        assert idle_power(both, "") == idle_power(main, "")
        assert block_ratios(both, "energy_per_token") == block_ratios(main, "energy_per_token")
        assert disturbances.run_codes(both, "smoke", True) == disturbances.run_codes(
            main, "smoke", True
        )
        assert disturbances.drift_codes(kept) == disturbances.drift_codes(valid_blocks(main))
        assert [w for w in disturbances.with_clock_codes(both) if w.phase != "answer"] == (
            disturbances.with_clock_codes(main)
        )
        protocol = plan(["model=local", "model.path=."], multirun=False)[0].spec.protocol
        assert schedule.stopping(both, protocol) == schedule.stopping(main, protocol)


def test_a_question_knows_the_unit_of_its_margin():
    item = Item(index=4, baseline=1, candidate=1, margin=0.2)
    units = {
        metric: Question(score("a", [], metric), item, 0.2).unit for metric in ("acc", "acc_norm")
    }
    assert units == {"acc": "nat", "acc_norm": "nat/character"}
