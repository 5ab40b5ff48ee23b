"""The most that one device serves within limits that its run did not count."""

from helpers.load_windows import at_rates

from greenbench.analysis.choices.service import Limits, serves

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
