"""Trainings of known watts and known losses through the fake NVML: joules to a loss as by hand."""

import random
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pynvml
import pytest
from helpers.engines import Here
from scipy import stats

from greenbench.analysis.training.conclusions import drawn
from greenbench.analysis.training.curves import Losses, Raw, Tried, best, crossing, noted
from greenbench.engines.engine import Completion
from greenbench.measure import recorder
from greenbench.measure.training import TUNING, expected_s, milestones, orders, train, tune
from greenbench.meters import OpenMeters
from greenbench.meters.nvml_counter import NvmlCounter
from greenbench.schema.codes import validity
from greenbench.schema.training.record import Facts, Point
from greenbench.schema.training.spec import TrainingSpec
from greenbench.schema.window import WHO

GPU = "GPU-22222222-0000-1111-2222-333333333333"
WATTS = {"baseline": 400, "candidate": 250}
STEP_S = {"baseline": 0.5, "candidate": 0.6}
FALLS = {"baseline": 1.0e-3, "candidate": 0.8e-3}
"""Nats a token of training."""
SPREAD = (1.0, 1.1, 0.95)
"""By so much more the candidate learns, by seed."""
SPEC = TrainingSpec(
    tokens=4000, evaluations=4, longer=1.5, seeds=3, learning_rates=[1e-4, 1e-3], tuning_tokens=1000
)
PLACE = Facts(
    optimizer="adamw",
    precision="float32",
    batch_size=8,
    accumulation=1,
    trained=10,
    learning_rate=1.0,
)


class Planted(Here):
    """Loses `falls` nats a token; its evaluations take time and watts that no training is charged for."""

    def __init__(self, clock, who, falls, stuck=None):
        self._clock, self._who, self._falls, self._stuck = clock, who, falls, stuck
        self.tokens = 0

    def step(self):
        began_s = self._clock.now_s
        self._clock.sleep(STEP_S[self._who])
        self.tokens += 100
        return Completion(100, 0, began_s, (), self._clock.now_s)

    def loss(self):
        self._clock.sleep(3.0)
        return max(10 - self._falls * self.tokens, self._stuck or 0.0)


@pytest.fixture
def lab(fake_nvml, monkeypatch):
    """Call with the candidate's knobs: a recorder on the fake NVML, and what starts a training."""
    clock = fake_nvml(f"device {GPU}\npower 700\nlimit 700 20 700\ntick 0.1\n")
    vars(clock).update(time=lambda: 0.0)
    monkeypatch.setattr(recorder, "time", clock)
    meters = OpenMeters([NvmlCounter([GPU], clock)])
    handle = pynvml.nvmlDeviceGetHandleByUUID(GPU)
    started = []

    def make(falls=FALLS, spread=SPREAD, stuck=None):
        @contextmanager
        def start(who, seed, rate):
            pynvml.nvmlDeviceSetPowerManagementLimit(handle, 1000 * WATTS[who])
            pynvml.nvmlDeviceGetEnforcedPowerLimit(
                handle
            )  # the fake heeds it from the next call on
            started.append((who, seed, rate))
            more = spread[seed] if who == "candidate" and seed >= 0 else 1.0
            by_rate = 1.0 if seed >= 0 else rate / 1e-3
            each = Planted(
                clock, who, falls[who] * more * by_rate, stuck if who == "candidate" else None
            )
            yield each, each

        return recorder.Recorder(meters, watched=()), start, started

    yield make
    meters.__exit__(None, None, None)


def measured(lab, spec=SPEC, **knobs):
    """What a run concludes of it."""
    taken, start, _ = lab(**knobs)
    factors = dict.fromkeys(WHO, 1.0)
    tried = [Tried(*each) for each in tune(taken, start, spec, factors, lambda *_: None)]
    rates = {who: best(tried, who) for who in WHO}
    done = train(taken, start, spec, rates, 0, lambda *_: None)
    raw = Raw(dict.fromkeys(WHO, PLACE), tried, [Losses(*each) for each in done])
    return drawn(taken.windows, raw, "smoke", [], "no meter answered")


def test_joules_to_the_baselines_last_loss_are_as_by_hand(lab):
    """6 nats, after 40 steps of 0.5 s at 400 W; the candidate needs 4 / 0.8e-3 tokens, more or less."""
    found = measured(lab)
    by_hand = [4 / (0.8e-3 * more) / 100 * 0.6 * 250 for more in SPREAD]
    for course in found.training.courses:
        expected = 8000 if course.who == "baseline" else by_hand[course.seed]
        assert course.target_loss == pytest.approx(6.0)
        assert course.to_target_j == pytest.approx(expected, rel=0.02)
        assert course.points[-1].tokens == (4000 if course.who == "baseline" else 6000)
    logs = np.log(np.array(by_hand) / 8000)
    low, high = stats.t.interval(0.95, 2, loc=logs.mean(), scale=stats.sem(logs))
    ratio = found.ratios["energy_to_target"]
    assert ratio.n == 3
    assert ratio.provenance == "measured:counter:nvml"
    assert ratio.value == pytest.approx(np.exp(logs.mean()), rel=0.02)
    assert (ratio.low, ratio.high) == pytest.approx((np.exp(low), np.exp(high)), rel=0.04)
    per_token = found.ratios["energy_per_training_token"]
    assert per_token.value == pytest.approx((0.6 * 250) / (0.5 * 400), rel=0.02)
    assert found.training.reached == {"baseline": 3, "candidate": 3}
    assert (found.validity, found.codes) == ("valid", [])


def test_a_recipe_against_itself_has_a_ratio_of_1(lab, monkeypatch):
    monkeypatch.setitem(WATTS, "candidate", 400)
    monkeypatch.setitem(STEP_S, "candidate", 0.5)
    found = measured(lab, falls=dict.fromkeys(WHO, 1e-3), spread=(1.0, 1.0, 1.0))
    assert found.ratios["energy_to_target"].value == pytest.approx(1.0, rel=0.01)


def test_what_never_gets_there_is_counted_and_bounded_from_below(lab):
    """With two seeds it stops at 7 nats: 60 steps of 0.6 s at 250 W, and it had not come to 6."""
    found = measured(lab, spread=(1.0, 0.5, 0.4))
    ratio, level = (
        found.ratios["energy_to_target"],
        found.metrics["candidate"]["energy_to_target_j"],
    )
    spent = [4 / 0.8e-3 / 100 * 150, 9000, 9000]

    def least(values):
        logs = np.log(values)
        return float(np.exp(stats.t.interval(0.95, 2, loc=logs.mean(), scale=stats.sem(logs))[0]))

    assert found.training.reached == {"baseline": 3, "candidate": 1}
    assert (ratio.value, ratio.high, ratio.n) == (None, None, 3)
    assert ratio.low == pytest.approx(least(np.array(spent) / 8000), rel=0.03)
    assert ratio.reason == (
        "1 of 3 trainings came to the baseline's last loss; the others counted as if they had come there at "
        "their end; at least this, with 95 %"
    )
    assert level.value is None
    assert level.low == pytest.approx(least(spent), rel=0.03)
    assert [c.to_target_j for c in found.training.courses if not c.reached] == [None, None]


def test_of_one_seed_that_never_gets_there_there_is_no_bound(lab):
    found = measured(lab, replace(SPEC, seeds=1), spread=(0.5,))
    ratio = found.ratios["energy_to_target"]
    assert (ratio.value, ratio.low, ratio.high, ratio.n) == (None, None, None, 1)
    assert ratio.reason.endswith("no lower bound, as one observation has no interval")


def test_losses_stand_beside_each_other_after_as_many_tokens(lab):
    """The candidate goes on to 6000 tokens; after the baseline's 4000 it has lost 0.8e-3 of each."""
    found = measured(lab)
    after = [10 - 0.8e-3 * more * 4000 for more in SPREAD]
    assert found.metrics["candidate"]["final_loss"].value == pytest.approx(np.mean(after))
    assert found.metrics["baseline"]["final_loss"].value == pytest.approx(6.0)


def test_a_baseline_that_learns_nothing_sets_no_target(lab):
    found = measured(lab, falls={"baseline": 0.0, "candidate": 1e-3})
    ratio = found.ratios["energy_to_target"]
    assert ratio.value is None
    assert "no lower than the first" in ratio.reason
    assert found.ratios["energy_per_training_token"].value is not None


def test_learning_rates_are_tried_alike_and_their_joules_are_shown(lab):
    """Two rates each on 10 steps; the larger loses more here."""
    found = measured(lab)
    tuning = found.training.tuning
    assert tuning["baseline"].value == pytest.approx(2 * 10 * 0.5 * 400, rel=0.03)
    assert tuning["candidate"].value == pytest.approx(2 * 10 * 0.6 * 250, rel=0.03)
    assert [trial.learning_rate for trial in found.training.trials] == 2 * [1e-4, 1e-3]
    assert {facts.learning_rate for facts in found.training.facts.values()} == {1e-3}


def test_each_seed_trains_both_in_random_order_from_the_start(lab):
    taken, start, started = lab()
    train(taken, start, SPEC, dict.fromkeys(WHO, 1.0), 0, lambda *_: None)
    assert [who for who, _, _ in started] == [who for order in orders(3, 0) for who in order]
    assert [seed for _, seed, _ in started] == [0, 0, 1, 1, 2, 2]
    assert TUNING not in {seed for _, seed, _ in started}
    many = orders(200, random.Random(1).randrange(1000))
    assert 70 < sum(order[0] == "baseline" for order in many) < 130


def test_what_a_record_keeps_gives_the_same_numbers_again(lab):
    found = measured(lab)
    again = drawn(found.windows, noted(found.training), "smoke", found.codes, "no meter answered")
    assert again == found


def test_a_seed_with_a_disturbed_window_counts_in_neither(lab):
    found = measured(lab)
    spoiled = next(i for i, w in enumerate(found.windows) if w.place and w.place.unit == 1)
    bad = found.windows[spoiled].model_copy(update={"validity": "invalid", "codes": ["throttled"]})
    windows = [*found.windows[:spoiled], bad, *found.windows[spoiled + 1 :]]
    again = drawn(windows, noted(found.training), "smoke", [], "no meter answered")
    assert again.training.seeds == again.ratios["energy_to_target"].n == 2
    assert len(again.training.courses) == 6  # kept all the same


def test_a_disturbed_trial_leaves_its_side_without_joules_of_tuning(lab):
    found = measured(lab)

    def again(codes):
        first = found.windows[0]
        bad = first.model_copy(update={"validity": validity(codes), "codes": codes})
        windows = [bad, *found.windows[1:]]
        return drawn(windows, noted(found.training), "smoke", [], "no meter answered")

    broken, flagged = again(["throttled"]), again(["power_capped"])
    assert broken.training.tuning["baseline"].value is None
    assert "invalid" in broken.training.tuning["baseline"].reason
    assert broken.training.tuning["candidate"].value is not None
    assert (broken.validity, flagged.validity) == ("valid", "flagged")
    assert flagged.codes == ["power_capped"]
    assert flagged.training.tuning["baseline"].value is not None


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([10, 8, 6], 200.0),
        ([10, 4, 6], 100 * 4 / 6),
        ([10, 8, 7], None),
        ([5, 8, 7], 0.0),
        ([10, None, 4], 200.0),
        ([10, 7, None], None),
    ],
)
def test_a_curve_crosses_a_loss_in_a_straight_line(losses, expected):
    points = [
        Point(tokens=i, seconds=i, energy_j=100.0 * i, loss=loss) for i, loss in enumerate(losses)
    ]
    found = crossing(points, 6.0)
    assert (found and found.energy_j) == pytest.approx(expected)
    unmetered = [point.model_copy(update={"energy_j": None}) for point in points]
    assert (crossing(unmetered, 6.0) is None) is (expected is None)
    assert crossing(points, None) is None


def test_what_tuned_tells_how_long_the_quickest_stretch_will_last(lab):
    """1000 tokens in steps of 100, of 0.5 s and of 0.6 s; a stretch takes a step at least."""
    taken, start, _ = lab()
    tune(taken, start, SPEC, dict.fromkeys(WHO, 1.0), lambda *_: None)
    assert expected_s(taken.windows, SPEC) == pytest.approx(5.0, rel=0.01)
    assert expected_s(taken.windows, replace(SPEC, evaluations=400)) == pytest.approx(0.5, rel=0.01)


def test_the_candidate_is_evaluated_as_often_on_as_many_tokens_and_goes_on():
    assert list(milestones(SPEC, "baseline")) == [1000, 2000, 3000, 4000]
    assert list(milestones(SPEC, "candidate")) == [1000, 2000, 3000, 4000, 5000, 6000]
    assert list(milestones(replace(SPEC, longer=1.0), "candidate")) == [1000, 2000, 3000, 4000]
