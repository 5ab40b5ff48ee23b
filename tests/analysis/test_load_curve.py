"""Loads and their curve, against numbers by hand, and against simulated queues."""

from itertools import product
from math import log, sqrt
from statistics import fmean

import numpy as np
import pytest
from helpers.load_windows import Queue, latencies, serve
from scipy import stats

from greenbench.analysis.conclusions import Told, conclusions
from greenbench.analysis.load_curve import load_codes, load_curve
from greenbench.schema import metrics
from greenbench.schema.load_spec import SloSpec
from greenbench.schema.quantity import Quantity
from greenbench.schema.window import WHO
from greenbench.stats.standard_errors import stay_error

DRIFT = (1.0, 1.2, 0.9, 1.05)
IDLE = {
    "both": Quantity(value=40.0, unit="W", provenance="measured:counter:nvml", n=3, low=38.0, high=42.0)
}  # fmt: skip


def point(load, factor=0.5, wobble=0.0, *, headline=2.0, candidate=None, **changes):
    """Four blocks of 1000 J and 20 answers each; the candidate takes `factor`, more or less, of both
    joules and seconds."""
    series = "block" if load == headline else "load"
    found = []
    for block, drift in enumerate(DRIFT):
        own = factor * (1 + wobble * (-1) ** block)
        found.append(serve("baseline", block, load, joules=1000 * drift, series=series, **changes))
        slower = {"joules": 1000 * drift * own, "e2e": [0.5 * own] * 20, "series": series}
        found.append(serve("candidate", block, load, **(slower | changes | (candidate or {}))))
    return found


def curve(*points, slo=None, unit="request/s", idle=IDLE):
    windows = [window for each in points for window in each]
    return load_curve(windows, idle, slo or SloSpec(), unit, 2.0, "no meter answered")


def only(*windows, **changes):
    (found,) = curve(*windows, **changes).points
    return found


def test_a_point_by_hand():
    found = only(point(2.0, queue=3.0, good=18))
    drift = fmean(DRIFT)
    of = found.baseline.metrics
    assert of[metrics.ENERGY_PER_REQUEST.name].value == pytest.approx(1000 / 20 * drift)
    assert of[metrics.ENERGY_PER_TOKEN.name].value == pytest.approx(1000 / 200 * drift)
    assert of[metrics.ENERGY_PER_ANY_TOKEN.name].value == pytest.approx(1000 / 400 * drift)
    assert of[metrics.POWER.name].value == pytest.approx(100 * drift)
    assert of[metrics.THROUGHPUT.name].value == pytest.approx(2.0)
    assert of[metrics.GOODPUT.name].value == pytest.approx(1.8)
    assert of[metrics.GOOD.name].value == pytest.approx(0.9)
    assert of[metrics.GOOD.name].n == 80
    assert of[metrics.IN_FLIGHT.name].value == pytest.approx(1.0)
    assert of[metrics.BATCH.name].value == pytest.approx(1.0)
    assert of[metrics.QUEUE.name].value == pytest.approx(3.0)
    assert of[metrics.E2E.name].value == of[metrics.E2E_P90.name].value == pytest.approx(0.5)
    assert of[metrics.TTFT_P90.name].value == pytest.approx(0.05)
    assert "needs 100" in of[metrics.E2E_P99.name].reason
    assert found.blocks == 4
    for metric in (metrics.ENERGY_PER_REQUEST, metrics.POWER, metrics.E2E_P90, metrics.TPOT):
        assert found.ratios[metric.ratio].value == pytest.approx(0.5)
        assert found.ratios[metric.ratio].n == 4


def test_the_marginal_energy_carries_the_doubt_of_idle_power():
    """Idle 40 W for 10 s are 400 J of 1000; a watt more of it is half a joule a request."""
    found = only(point(2.0))
    value = (1000 * fmean(DRIFT) - 400) / 20
    rests = [[each for each in DRIFT if each is not out] for out in DRIFT]
    logs = np.log([(1000 * fmean(rest) - 400) / 20 for rest in rests])
    reach = jackknife(logs)
    level = found.baseline.metrics[metrics.MARGINAL_ENERGY_PER_REQUEST.name]
    assert level.value == pytest.approx(value)
    blocks_low, shift = value - value * np.exp(-reach), 2.0 * 10 / 20
    assert value - level.low == pytest.approx(sqrt(blocks_low**2 + shift**2))
    ratio = found.ratios[metrics.MARGINAL_ENERGY_PER_REQUEST.ratio]
    assert ratio.value == pytest.approx((500 * fmean(DRIFT) - 400) / (1000 * fmean(DRIFT) - 400))
    assert ratio.low < ratio.value < ratio.high


def test_without_idle_power_there_is_no_marginal_energy_but_a_reason():
    name = metrics.MARGINAL_ENERGY_PER_REQUEST
    found = only(point(2.0), idle={})
    assert "idle power was not measured" in found.baseline.metrics[name.name].reason
    assert "idle power was not measured" in found.ratios[name.ratio].reason
    single = {"both": IDLE["both"].model_copy(update={"low": None, "high": None, "reason": "one"})}
    assert "no interval" in only(point(2.0), idle=single).candidate.metrics[name.name].reason
    drowned = {"both": IDLE["both"].model_copy(update={"value": 200.0})}
    found = only(point(2.0), idle=drowned)
    assert found.baseline.metrics[name.name].value < 0
    assert "not above 0" in found.ratios[name.ratio].reason


def jackknife(logs):
    """Half its interval."""
    n = len(logs)
    return stats.t.ppf(0.975, n - 1) * sqrt((n - 1) / n * ((logs - logs.mean()) ** 2).sum())


def test_percentiles_are_of_pooled_requests_with_the_wider_interval_of_jackknife_and_sections():
    dice = np.random.default_rng(0)
    blocks = [dice.exponential(size=40) for _ in range(4)]
    windows = [
        serve(who, b, 2.0, e2e=each)
        for b, each in enumerate(blocks)
        for who in ("baseline", "candidate")
    ]
    found = only(windows).baseline.metrics
    whole = np.concatenate(blocks)
    for metric, q in ((metrics.E2E, 0.5), (metrics.E2E_P90, 0.9), (metrics.E2E_P99, 0.99)):
        assert found[metric.name].value == pytest.approx(np.quantile(whole, q))
        rests = [np.concatenate(blocks[:b] + blocks[b + 1 :]) for b in range(4)]
        logs = np.log([np.quantile(rest, q) for rest in rests])
        own = np.log([np.quantile(each, q) for each in blocks]) - log(np.quantile(whole, q))
        sections = stats.t.ppf(0.975, 3) * sqrt((own**2).sum() / 3 / 4)
        half = max(jackknife(logs), sections)
        assert log(found[metric.name].high / found[metric.name].value) == pytest.approx(half)


def test_the_ratio_of_percentiles_is_of_all_requests_and_not_the_mean_of_the_blocks():
    """Of one block in which the candidate's waits were long, each block's own ratio tells less."""
    dice = np.random.default_rng(1)
    before = [dice.exponential(size=60) for _ in range(4)]
    after = [each * factor for each, factor in zip(before, (1.0, 1.1, 0.9, 4.0), strict=True)]
    windows = [
        serve(who, block, 2.0, e2e=side[block])
        for who, side in (("baseline", before), ("candidate", after))
        for block in range(4)
    ]
    found = only(windows).ratios
    for metric, q in ((metrics.E2E, 0.5), (metrics.E2E_P90, 0.9)):
        ratio, own = found[metric.ratio], np.log([1.0, 1.1, 0.9, 4.0])
        value = np.quantile(np.concatenate(after), q) / np.quantile(np.concatenate(before), q)
        assert ratio.value == pytest.approx(value)
        sections = stats.t.ppf(0.975, 3) * sqrt(((own - log(value)) ** 2).sum() / 3 / 4)
        reach = log(ratio.high / ratio.value)
        assert reach == pytest.approx(sections) if q == 0.5 else reach >= sections * 0.999


def test_unfinished_requests_are_infinitely_slow():
    found = only(point(2.0, due=22, ended=22, unfinished=1, failed=1)).baseline.metrics
    assert found[metrics.E2E_P90.name].value == pytest.approx(0.5)
    found = only(point(2.0, due=25, ended=25, unfinished=5)).baseline.metrics
    assert found[metrics.E2E.name].value == pytest.approx(0.5)
    assert found[metrics.E2E_P90.name].reason == "unbounded: 20 of 100 requests were not answered"


def test_an_answer_without_a_token_leaves_no_first_one_to_wait_for():
    """Of 100 due 90 whole, 5 answered with no token, 5 given up after a first one: all are known."""
    first = latencies([0.05] * 95)
    counts = {"due": 100, "ended": 95, "unfinished": 5, "ttft": first, "silent": 5}
    found = only(point(2.0, e2e=(0.5,) * 95, **counts, candidate={"e2e": (0.5,) * 95}))
    assert found.baseline.metrics[metrics.TTFT_P99.name].value == pytest.approx(0.05)
    endless = found.baseline.metrics[metrics.E2E_P99.name].reason
    assert endless == "unbounded: 20 of 400 requests were not answered"


def test_a_block_counts_at_a_load_if_both_its_windows_there_are_not_invalid():
    windows = point(2.0) + point(4.0, 0.7)
    windows[0] = windows[0].model_copy(update={"validity": "invalid"})
    found = curve(windows)
    assert [each.blocks for each in found.points] == [3, 4]
    assert curve([w.model_copy(update={"validity": "invalid"}) for w in windows]) is None
    assert curve([]) is None


def test_a_growing_queue_is_saturated_and_its_latency_unbounded():
    found = only(point(2.0, candidate={"ended": 15}))
    assert (found.baseline.saturated, found.candidate.saturated) == (False, True)
    assert found.candidate.metrics[metrics.E2E.name].reason.startswith("unbounded: the queue grew")
    assert found.candidate.metrics[metrics.ENERGY_PER_REQUEST.name].value > 0
    assert found.ratios[metrics.E2E.ratio].reason.startswith("unbounded")
    assert found.ratios[metrics.ENERGY_PER_REQUEST.ratio].value == pytest.approx(0.5)
    # users wait for their answers: nothing piles up
    assert not only(point(2.0, candidate={"ended": 15}), unit="users").candidate.saturated
    # what one block leaves over another makes up for
    uneven = [w.model_copy(update={"traffic": w.traffic.model_copy(update={"ended": left})})
              for w, left in zip(point(2.0), (5, 5, 35, 35, 5, 5, 26, 26), strict=True)]  # fmt: skip
    assert not only(uneven).baseline.saturated


def test_estimated_joules_stay_estimates():
    found = only(point(2.0, provenance="estimated:model"))
    assert found.ratios[metrics.ENERGY_PER_REQUEST.ratio].is_estimate
    assert found.candidate.metrics[metrics.POWER.name].is_estimate
    found = only([w.model_copy(update={"energy": []}) for w in point(2.0)])
    assert found.ratios[metrics.ENERGY_PER_REQUEST.ratio].reason == "no meter answered"
    assert found.ratios[metrics.MARGINAL_ENERGY_PER_REQUEST.ratio].reason == "no meter answered"
    assert found.ratios[metrics.E2E.ratio].value == pytest.approx(0.5)


def test_the_most_that_is_served_within_the_limits():
    """Of 80 requests 80, 74 and 60 were good: surely 90 %, perhaps, surely not."""
    limits = SloSpec(ttft_ms=100, share=0.9)
    windows = [
        *point(1.0, good=20),
        *[w.model_copy(update={"traffic": w.traffic.model_copy(update={"good": 18 + w.place.unit % 2})})
          for w in point(2.0)],
        *point(4.0, good=15),
    ]  # fmt: skip
    load = curve(windows, slo=limits).capacity["baseline"].load
    assert (load.value, load.low, load.high) == (2.0, 1.0, 4.0)
    energy = curve(windows, slo=limits).capacity["candidate"].energy_per_request
    assert energy.value == pytest.approx(25 * fmean(DRIFT))


def test_the_most_is_not_shown_where_every_load_is_kept():
    load = (
        curve(point(1.0, good=20), point(2.0, good=20), slo=SloSpec(ttft_ms=9))
        .capacity["baseline"]
        .load
    )
    assert (load.value, load.low, load.high) == (2.0, 2.0, None)
    assert load.reason == "every measured load kept the limits: the most is not shown"


def test_the_most_without_limits_is_where_the_queue_does_not_grow():
    most = curve(point(1.0), point(2.0), point(4.0, ended=15)).capacity["baseline"].load
    assert (most.value, most.low, most.high) == (2.0, 2.0, 4.0)
    nothing = curve(point(4.0, ended=15)).capacity["candidate"]
    assert nothing.load.value is None
    assert (
        "the queue grows at the smallest measured load already, 4 request/s" in nothing.load.reason
    )
    assert nothing.energy_per_request.value is None


def test_the_crossing_lies_where_the_straight_line_in_the_logarithms_passes_one():
    found = curve(point(1.0, 0.5, 0.01), point(4.0, 2.0, 0.01)).crossing
    assert found.below == "candidate"
    assert found.load.value == pytest.approx(2.0, rel=0.01)
    assert found.load.low < found.load.value < found.load.high
    assert found.load.n == 4
    other = curve(point(1.0, 2.0, 0.01), point(4.0, 0.5, 0.01)).crossing
    assert other.below == "baseline"


def test_a_saturated_load_takes_part_in_the_crossing():
    found = curve(point(1.0, 0.5, 0.01), point(4.0, 2.0, 0.01, candidate={"ended": 15})).crossing
    assert found.load.value == pytest.approx(2.0, rel=0.01)


def test_one_model_that_is_shown_better_everywhere_is_said_to_be():
    found = curve(point(1.0, 0.5, 0.01), point(4.0, 0.9, 0.01)).crossing
    assert (found.load.value, found.below) == (None, "candidate")
    assert found.load.reason == "not shown: the candidate takes less at every measured load"


def test_a_crossing_within_the_noise_is_not_shown():
    found = curve(point(1.0, 0.5, 0.01), point(4.0, 1.05, 0.2)).crossing
    assert (found.load.value, found.below) == (None, None)
    assert found.load.reason.startswith("not shown")


def test_of_several_crossings_the_first_is_taken_and_said_to_be():
    found = curve(point(1.0, 0.5, 0.01), point(4.0, 2.0, 0.01), point(16.0, 0.5, 0.01)).crossing
    assert found.load.value == pytest.approx(2.0, rel=0.01)
    assert found.load.reason.startswith("the first of 2")


def test_late_sends_are_told():
    late = curve(windows := point(2.0, late_s=0.03))
    assert load_codes(windows, late) == ["late_sends"]
    on_time = curve(windows := point(2.0, late_s=0.02, candidate={"late_s": 0.01}))
    assert load_codes(windows, on_time) == []


def test_where_none_is_answered_sends_are_late_against_the_time_in_flight():
    def told(late_s):
        traffic = {"late_s": late_s, "due": 20, "unfinished": 20, "flight_s": 100.0}
        windows = point(2.0, e2e=(), candidate={"late_s": 0.0}, **traffic)
        return "late_sends" in load_codes(windows, curve(windows))

    assert (told(0.2), told(0.3)) == (False, True)


def test_windows_short_against_the_queues_memory_are_told():
    """Five seconds of none in flight, then five of one: ten are no ten times as long as that lasts."""
    slow = [0] * 50 + [1] * 50
    found = curve(windows := point(2.0, in_flight=slow))
    assert found.correlation_s.value > 1.0
    assert load_codes(windows, found) == ["short_against_queue"]
    steady = curve(windows := point(2.0, in_flight=[4] * 100))
    assert steady.correlation_s.value is None
    assert load_codes(windows, steady) == []


def test_the_correlation_time_of_ample_servers_is_the_mean_time_of_service():
    """M/M/infinity: the autocorrelation of the number in flight is exp(-t/s)."""
    queue = Queue(1, rate=5.0, cv=1.0, window_s=400.0, at_once=200)
    windows = [window for block in range(6) for window in queue.pair(block)]
    found = load_curve(windows, {}, SloSpec(), "request/s", 5.0, "none")
    assert found.correlation_s.value == pytest.approx(1.0, rel=0.25)


LATENCIES = (metrics.E2E, metrics.E2E_P90, metrics.E2E_P99)


@pytest.mark.parametrize("cv", [1.0, 3.0], ids=["poisson", "bursty"])
@pytest.mark.parametrize(
    ("runs", "of"),
    [
        (200, (metrics.ENERGY_PER_REQUEST, metrics.E2E)),
        pytest.param(500, (metrics.ENERGY_PER_REQUEST, *LATENCIES), marks=pytest.mark.slow),
    ],
)
def test_intervals_of_runs_against_itself_hold_one_as_often_as_they_say(runs, of, cv):
    """A/A runs of 8 blocks, a queue of 4 at once, half busy. Of few requests beyond it, a percentile's may be
    too wide."""
    held = {metric.ratio: [] for metric in of}
    for seed in range(runs):
        queue = Queue(seed, rate=2.0, cv=cv, window_s=30.0)
        windows = [window for block in range(8) for window in queue.pair(block)]
        (found,) = load_curve(windows, {}, SloSpec(), "request/s", 2.0, "none").points
        for name, outcomes in held.items():
            interval = found.ratios[name].bounds
            if interval:  # a burst may saturate a run: its latency is unbounded
                outcomes.append(interval[0] <= 1 <= interval[1])
    for name, outcomes in held.items():
        assert len(outcomes) > 0.95 * runs
        most = 1.0 if name in (metrics.E2E_P90.ratio, metrics.E2E_P99.ratio) else 0.97
        assert 0.93 <= np.mean(outcomes) <= most


@pytest.mark.parametrize(("load", "few", "most"), [(0.7, 0.0, 0.05), (1.2, 0.95, 1.0)])
def test_a_queue_that_is_asked_for_more_than_it_can_do_is_found_saturated(load, few, most):
    """60 runs of 5 blocks: 4 servers whose work takes a second each, at 0.7 and 1.2 of what they can do.

    In windows of 30 s such an overload leaves over no more than chance may: it is found in 58 % of runs.
    """
    found = []
    for seed in range(60):
        queue = Queue(seed, rate=4 * load, cv=1.0, window_s=90.0)
        windows = [window for block in range(5) for window in queue.pair(block)]
        (point,) = load_curve(windows, {}, SloSpec(), "request/s", 4 * load, "none").points
        found.append(point.baseline.saturated)
        unbounded = metrics.E2E.level(point.baseline.metrics).reason or ""
        assert unbounded.startswith("unbounded") == point.baseline.saturated
    assert few <= np.mean(found) <= most


def backlogs(*shares, due=100):
    """Loads 1, 2, 4...: of each, what two windows left over of a hundred requests each."""
    return [
        window
        for place, each in enumerate(shares)
        for window in [
            serve(who, block, 2.0**place, due=due, ended=due - each[block], e2e=(0.5,) * due)
            for block in range(len(each))
            for who in ("baseline", "candidate")
        ]
    ]


def full(*shares):
    return [point.baseline.saturated for point in curve(backlogs(*shares)).points]


def test_a_queue_that_seems_to_grow_at_a_low_load_and_does_not_at_a_higher_one_did_so_by_chance():
    grown, by_chance, kept = (19, 20, 21, 20), (30, 0, 25, 1), (0, 1, -1, 0)
    assert full(grown) == [True]
    assert full(by_chance) == [False]
    assert full(grown, kept, grown) == [False, False, True]
    assert full(kept, grown, by_chance) == [False, True, True]
    assert full(kept, by_chance, grown) == [False, False, True]


def test_a_load_whose_requests_fail_does_not_hide_that_a_lower_one_was_too_much():
    """Whoever turns requests away has no queue either."""
    shed = [
        serve(who, block, 4.0, due=100, ended=70, failed=30, e2e=(0.5,) * 70)
        for block in range(4)
        for who in ("baseline", "candidate")
    ]
    found = curve([*backlogs((0, 1, -1, 0), (28, 30, 32, 30)), *shed])
    assert [point.baseline.saturated for point in found.points] == [False, True, True]
    most = found.capacity["baseline"].load
    assert (most.value, most.low, most.high) == (1.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("own", "above", "grows"),
    [((28, 30, 32, 30), (0, 1, -1, 0), False), ((30, 0, 25, 1), (40, 41, 42, 40), False),
     ((28, 30, 32, 30), (40, 41, 42, 40), True)],
)  # fmt: skip
def test_a_runs_own_latency_is_unbounded_where_its_curve_says_so(own, above, grows):
    windows = backlogs(own, above)
    own_load, others = windows[: 2 * len(own)], windows[2 * len(own) :]
    apart = [w.place.model_copy(update={"series": "load"}) for w in others]
    others = [w.model_copy(update={"place": p}) for w, p in zip(others, apart, strict=True)]
    told = Told("dev", SloSpec(), True, True, [], None, dict.fromkeys(WHO), "none", "no meter", 4)
    found = conclusions([*own_load, *others], told)
    point = found.others["load"].points[0]
    for who in WHO:
        assert point.side(who).saturated is grows
        assert (found.metrics[who][metrics.TTFT.name].value is None) is grows
    assert (metrics.TTFT.ratio not in found.verdicts) is grows or found.ratios[
        metrics.TTFT.ratio
    ].value is None


def test_no_load_is_surely_kept_whose_queue_seems_to_grow():
    found = curve(backlogs((0, 1, -1, 0), (7, 6, 8, 7), (0, 1, -1, 0)))
    assert [point.baseline.saturated for point in found.points] == [False] * 3
    for load in (found.capacity[who].load for who in ("baseline", "candidate")):
        assert load.low <= load.value
        assert load.high is None or load.value <= load.high


def test_failed_requests_are_no_queue():
    windows = point(2.0, due=20, ended=16, failed=4, e2e=(0.5,) * 16)
    assert not only(windows).baseline.saturated
    assert only(windows).baseline.metrics[metrics.BACKLOG.name].value == 0


def test_a_load_whose_requests_fail_is_not_kept_up_with():
    """No queue is left over, as half of the requests were refused."""
    shed = {"due": 20, "ended": 10, "failed": 10, "e2e": (0.5,) * 10}
    windows = [*point(1.0), *point(2.0, candidate={}, **shed)]
    found = curve(windows)
    of = found.points[1].baseline.metrics[metrics.FAILED.name]
    assert (of.value, of.n) == (pytest.approx(0.5), 80)
    most = found.capacity["baseline"].load
    assert (most.value, most.low, most.high) == (1.0, 1.0, 2.0)
    assert load_codes(windows, found) == ["failed_requests"]
    for unit in ("request/s", "users"):
        nothing = curve(point(2.0, **shed), unit=unit).capacity["baseline"].load
        assert (
            nothing.reason
            == f"50 % of the requests fail at the smallest measured load already, 2 {unit}"
        )
    few = [*point(1.0, **(shed | {"ended": 19, "failed": 1, "e2e": (0.5,) * 19})), *point(2.0)]
    assert curve(few).capacity["baseline"].load.value == 2.0
    assert load_codes(few, curve(few)) == []


def test_users_wait_so_that_their_load_is_kept_however_long_an_answer_takes():
    windows = point(2.0, due=20, ended=14, e2e=(6.0,) * 20, candidate={"e2e": (6.0,) * 20})
    assert curve(windows, unit="users").capacity["baseline"].load.value == 2.0


def test_where_even_the_quickest_answer_outlasts_the_ramp_it_is_not_told_whether_the_queue_grows():
    """No queue at all: each answer takes 6 s, and a ramp 3 of the window's 10."""
    windows = point(2.0, due=20, ended=14, e2e=(6.0,) * 20, candidate={"e2e": (6.0,) * 20})
    found = curve(windows)
    baseline = found.points[0].baseline
    assert not baseline.saturated
    assert baseline.metrics[metrics.E2E.name].value == pytest.approx(6.0)
    assert baseline.metrics[metrics.BACKLOG.name].reason.startswith("not told")
    assert load_codes(windows, found) == ["short_against_queue"]
    assert found.capacity["baseline"].load.value is None
    assert found.capacity["baseline"].load.reason.startswith(
        "whether the queue grows is not told: "
    )


def test_joules_per_request_are_all_joules_over_all_requests():
    """Of blocks with 1, 1, 10 and 10 requests; the mean of each one's own would be 316 J."""
    counts = (1, 1, 10, 10)
    windows = [
        serve(who, block, 2.0, requests=made, joules=1000.0 * (1 if who == "baseline" else 0.5))
        for block, made in enumerate(counts)
        for who in ("baseline", "candidate")
    ]
    found = only(windows)
    name = metrics.ENERGY_PER_REQUEST
    assert found.baseline.metrics[name.name].value == pytest.approx(4000 / 22)
    assert found.ratios[name.ratio].value == pytest.approx(0.5)
    empty = [serve(who, 4, 2.0, requests=0.0) for who in ("baseline", "candidate")]
    found = only([*windows, *empty])
    assert found.baseline.metrics[name.name].value == pytest.approx(5000 / 22)
    assert found.ratios[name.ratio].value == pytest.approx(3000 / 5000)


def test_a_share_of_blocks_that_differ_is_less_sure_than_of_as_many_requests():
    alike = only(point(2.0, good=18)).baseline.metrics[metrics.GOOD.name]
    uneven = [
        w.model_copy(update={"traffic": w.traffic.model_copy(update={"good": 20 - 8 * (w.place.unit % 2)})})
        for w in point(2.0)
    ]  # fmt: skip
    apart = only(uneven).baseline.metrics[metrics.GOOD.name]
    assert apart.value == pytest.approx(0.8)
    assert apart.high - apart.low > 1.5 * (alike.high - alike.low)
    assert apart.high <= 1


@pytest.mark.parametrize("planned", [None, 3])
def test_at_the_ends_of_a_crossings_interval_the_line_between_loads_is_just_not_shown(planned):
    """Four blocks, of which the first three are more unlike than all, or decided nothing."""
    factors = {
        1.0: (0.70, 0.80, 0.75, 0.75),
        2.0: (0.9, 1.06, 0.96, 0.97),
        4.0: (1.2, 1.3, 1.36, 1.28),
    }
    windows = [
        serve(who, block, load, joules=1000 * DRIFT[block] * (each if who == "candidate" else 1))
        for load, blocks in factors.items()
        for block, each in enumerate(blocks)
        for who in WHO
    ]
    load = load_curve(windows, {}, SloSpec(), "request/s", 2.0, "", planned=planned).crossing.load
    assert 1.0 < load.low < load.value < load.high < 4.0
    for end in (load.low, load.value, load.high):
        own = [
            np.interp(log(end), np.log([*factors]), np.log(at))
            for at in zip(*factors.values(), strict=True)
        ]
        stages = [own] if planned is None else [own, own[:planned]]
        half = max(
            stats.t.ppf(0.975, len(s) - 1) * np.std(s, ddof=1) / sqrt(len(own)) for s in stages
        )
        assert abs(fmean(own)) == pytest.approx(0 if end == load.value else half, abs=1e-9)


def test_a_crossing_is_of_the_blocks_that_count_at_all_loads_about_it():
    windows = point(1.0, 0.5, 0.01) + point(4.0, 2.0, 0.01)
    windows[0] = windows[0].model_copy(update={"validity": "invalid"})
    load = curve(windows).crossing.load
    assert load.n == 3
    assert load.low < load.value < load.high


def test_a_load_without_joules_between_two_others_hides_no_crossing():
    middle = [w.model_copy(update={"energy": []}) for w in point(2.5, 1.0, 0.01)]
    found = curve(point(1.0, 0.5, 0.01), middle, point(4.0, 2.0, 0.01)).crossing.load
    without = curve(point(1.0, 0.5, 0.01), point(4.0, 2.0, 0.01)).crossing.load
    assert (found.value, found.bounds) == (without.value, without.bounds)


def test_a_crossing_of_loads_that_share_no_block_has_no_interval():
    windows = point(1.0, 0.5, 0.01) + point(4.0, 2.0, 0.01)
    spoilt = (
        *range(4),
        *range(12, 16),
    )  # of the one load the first two blocks, of the other the last
    for place in spoilt:
        windows[place] = windows[place].model_copy(update={"validity": "invalid"})
    load = curve(windows).crossing.load
    assert load.value == pytest.approx(2.0, rel=0.01)
    assert (load.bounds, load.n) == (None, 2)
    assert "fewer than two blocks" in load.reason


def test_of_models_in_turn_a_point_is_no_surer_than_their_stays():
    """Four blocks, of which the candidate's last two came after it was loaded again, 4 % lower."""
    stays = {"baseline": [1, 3, 3, 5], "candidate": [2, 2, 4, 4]}
    windows = []
    for block in range(4):
        for who, factor in (("baseline", 1.0), ("candidate", 0.5 if block < 2 else 0.48)):
            window = serve(who, block, 2.0, joules=1000 * factor * (1 + 0.001 * block))
            start_s = 1000.0 * stays[who][block] + 100.0 * block
            windows.append(window.model_copy(update={"start_s": start_s, "end_s": start_s + 10}))

    def found(in_turn):
        return load_curve(
            windows, IDLE, SloSpec(), "request/s", 2.0, "none", in_turn=in_turn
        ).points[0]

    plain, wide = (found(in_turn).ratios["energy_per_request"] for in_turn in (False, True))
    assert wide.value == plain.value
    sides = [
        np.log([w.energy[0].end_j - w.energy[0].start_j for w in windows if w.who == who])
        for who in WHO
    ]
    error = stay_error(sides, (stays["baseline"], stays["candidate"]))
    reach = np.exp(error.size * stats.t.ppf(0.975, error.freedom))
    assert wide.bounds == pytest.approx((wide.value / reach, wide.value * reach))
    assert wide.low < plain.low < plain.high < wide.high


def test_of_models_in_turn_a_crossing_is_no_surer_than_their_stays():
    """The level of each of the five stays is its own."""
    stays = {"baseline": [1, 3, 3, 5], "candidate": [2, 2, 4, 4]}
    level = dict(enumerate((0.02, -0.02, -0.01, 0.03, 0.0), start=1))
    windows = []
    for load, factor in ((1.0, 0.5), (4.0, 2.0)):
        for who, block in product(WHO, range(4)):
            stay = stays[who][block]
            spent = (
                1000 * (factor if who == "candidate" else 1) * np.exp(level[stay] + 0.001 * block)
            )
            window = serve(who, block, load, joules=spent, series="block" if load == 1 else "load")
            windows.append(
                window.model_copy(update={"start_s": 1000.0 * stay + 100.0 * block + load})
            )
    found = [
        load_curve(windows, {}, SloSpec(), "request/s", 1.0, "", in_turn=in_turn).crossing.load
        for in_turn in (False, True)
    ]
    assert found[0].value == found[1].value
    assert found[1].low < found[0].low < found[0].high < found[1].high
