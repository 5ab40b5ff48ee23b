"""What was active: by the first technique that counts, against what the whole stack promised."""

from helpers import campaign

from greenbench.analysis.energy.active_weights import active
from greenbench.analysis.groups.rows import Row


def row(*parts, held=1.0):
    record = campaign.run("x", 1.0)
    (part,) = record.techniques
    made = [
        part.model_copy(
            update={
                "promise": part.promise.model_copy(
                    update={"active_bytes_ratio": ratio, "bytes_ratio": held}
                ),
                "observed": seen,
            }
        )
        for ratio, seen in parts
    ]
    return Row(record.model_copy(update={"techniques": made}), "x")


def test_the_first_that_counts_is_held_to_the_promise_of_all():
    """Promised 0.5 × 0.5; counted 0.25 of the plain model, in which the second's own count is."""
    counted = {"active_bytes_a_token": 10, "active_bytes_ratio": 0.25}
    later = {"active_bytes_a_token": 10, "active_bytes_ratio": 0.5}
    found = active(row((None, {"drafted": 1}), (0.5, counted), (0.5, later)))
    assert (found.promised, found.counted, found.kept) == (0.25, 0.25, 1.0)
    assert found.experts_a_token is None


def test_what_says_nothing_of_active_bytes_reads_as_it_holds_but_before_the_count():
    """A quarter held, once before what counts and once after it."""
    counted = {"active_bytes_a_token": 10, "active_bytes_ratio": 0.125}
    found = active(row((None, {}), (0.5, counted), (None, {}), held=0.25))
    assert (found.promised, found.kept) == (0.125, 1.0)


def test_what_is_not_known_is_not_zero():
    found = active(row((0.5, {"active_bytes_a_token": 10})))
    assert (found.counted, found.kept) == (None, None)
    assert active(row((0.5, {"active_bytes_a_token": 1, "active_bytes_ratio": 1.0}))).kept == 0
    assert active(row((None, {}))) is None
