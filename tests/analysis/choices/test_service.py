"""The most that one device serves within limits that its run did not count."""

from helpers.load_windows import at_rates, latencies, serve

from greenbench.analysis.choices.service import Limits, judged, serves
from greenbench.analysis.load_curve import load_curve
from greenbench.schema.load_spec import SloSpec
from greenbench.schema.window import WHO

WATTS = {"baseline": 40.0, "candidate": 20.0}
MOST = {"baseline": 8.0, "candidate": 8.0}
EASY = Limits(1e9, 1e9)


def loaded(rates, most=MOST, **changes):
    return at_rates(WATTS, most, rates=rates, **changes)


def test_too_few_requests_are_unknown_and_hide_no_higher_rate():
    """At 0.1 a second four requests in four blocks have no 90th percentile."""
    found = serves(loaded((0.1, 2.0, 4.0, 8.0)), "candidate", Limits(1e9))
    assert (found.value, found.low) == (8.0, 8.0)
    assert found.reason.startswith(
        "too few requests at 0.1 request/s to tell; of the others: every"
    )


def test_where_all_are_too_few_it_says_so():
    found = serves(loaded((0.1, 0.2)), "candidate", Limits(1e9))
    assert found.value is None
    assert found.reason == "too few requests at 0.1, 0.2 request/s to tell"


def test_a_rate_at_which_the_queue_grows_is_said_to_be_that():
    found = serves(loaded((2.0, 4.0), {"baseline": 8.0, "candidate": 1.0}), "candidate", EASY)
    assert found.reason == "the queue grows at the smallest measured load already, 2 request/s"
    slow = serves(loaded((2.0, 4.0)), "candidate", Limits(1.0))
    assert (
        slow.reason == "the limits are not kept at the smallest measured load already, 2 request/s"
    )


def missing_limits(late, *, share=None):
    """At 2 a second, in four blocks, so many of 100 requests take a second to the first token, and as many
    others for each later token; the rest a tenth."""
    seconds = latencies([0.1] * (100 - late) + [1.0] * late)
    windows = [
        serve(who, block, 2.0, e2e=[2.0] * 100, requests=100.0, ttft=seconds, tpot=seconds)
        for block in range(4)
        for who in WHO
    ]
    slo = None if share is None else {"ttft_ms": 1.0, "share": share}
    curve = load_curve(windows, {}, SloSpec(), "request/s", 2.0, "none")
    return loaded((2.0,), slo=slo).model_copy(update={"load": curve})


def test_two_limits_that_each_so_many_keep_are_not_surely_kept_by_as_many():
    """8 % miss one and another 8 % the other: 84 % keep both, where 90 % must."""
    both = serves(missing_limits(8), "candidate", Limits(500.0, 500.0))
    assert (both.value, both.low) == (2.0, None)  # likely, by each 90th percentile, and no more
    one = serves(missing_limits(8), "candidate", Limits(500.0))
    assert (one.value, one.low) == (2.0, 2.0)


def test_two_limits_are_surely_kept_where_the_percentile_above_what_both_leave_keeps_each():
    """95 % must keep each, so that 90 % keep both: the 99th percentiles do."""
    found = serves(missing_limits(0), "candidate", Limits(500.0, 500.0))
    assert found.low == 2.0
    assert serves(missing_limits(12), "candidate", Limits(500.0, 500.0)).value is None


def test_the_runs_share_of_requests_counts():
    """8 % miss it: too many where 95 % must keep it, few enough where 90 % must."""
    limits = Limits(500.0)
    assert serves(missing_limits(8, share=0.9), "candidate", limits).low == 2.0
    assert serves(missing_limits(8, share=0.95), "candidate", limits).value is None
    assert serves(missing_limits(0, share=0.95), "candidate", limits).low == 2.0
    assert serves(missing_limits(0, share=0.995), "candidate", limits).low is None


def test_it_says_by_which_percentiles_it_is_judged():
    one, both = (judged(missing_limits(0), Limits(500.0, most)) for most in (None, 500.0))
    assert "of 90 % of the requests" in one
    assert one.endswith("judged by the 90th percentile")
    assert both.endswith("judged by the 90th percentile, and surely kept only by the 99th")
    never = judged(missing_limits(0, share=0.995), Limits(500.0))
    assert never.endswith("judged by the 99th percentile, and never surely kept")
