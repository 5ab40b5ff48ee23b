"""Ratios carried over to devices that nobody measured: how often the truth is within what is predicted."""

from math import exp, log

import numpy as np
import pytest

from greenbench.stats.transfer import LEAST_DEVICES, Seen, left_out, predicted

ERROR = 0.01


def world(random, devices, tau, sigma=0.03, slope=0.2, level=-0.4, settings=3):
    """Settings of so many devices, by the very model; the last device's are for the test."""
    found = []
    for device in range(devices):
        own = random.normal(0, tau)
        for _ in range(settings):
            batch = float(random.integers(0, 6))
            truth = level + slope * (batch - 2.5) / 2.5 + own + random.normal(0, sigma)
            told = truth + random.normal(0, ERROR)
            found.append((truth, Seen(f"device {device}", (batch, 8.0), told, ERROR)))
    return found[:-settings], found[-settings:]


@pytest.mark.parametrize("tau", [0.02, 0.1, 0.3])
def test_another_devices_truth_lies_within_what_is_predicted(tau):
    """In 120 worlds of 7 devices each, the last of which is not shown: one setting of it counts, as those of
    one device are not independent."""
    random = np.random.default_rng(5)
    held = 0
    for _ in range(120):
        known, [(truth, each), *_] = world(random, 7, tau)
        found = predicted([seen for _, seen in known], each.features)
        held += log(found.low) <= truth <= log(found.high)
    assert held / 120 >= 0.90


def test_what_is_alike_everywhere_is_predicted_so():
    seen = [Seen(f"d{number}", (1.0,), log(0.7), 0.001) for number in range(12)]
    found = predicted(seen, (1.0,))
    assert found.value == pytest.approx(0.7, rel=0.002)
    assert (found.low, found.high) == (pytest.approx(0.7, rel=0.03), pytest.approx(0.7, rel=0.03))
    assert found.n == 12


def test_a_features_effect_is_carried_over():
    """Savings that shrink with the batch: on a device that was not seen, too."""
    seen = [
        Seen(f"d{number}", (batch,), log(0.5) + 0.15 * batch, 0.005)
        for number in range(6)
        for batch in (0.0, 1.0, 2.0, 3.0)
    ]
    small, large = predicted(seen, (0.0,)), predicted(seen, (3.0,))
    assert small.value == pytest.approx(0.5, rel=0.03)
    assert large.value == pytest.approx(0.5 * exp(0.45), rel=0.03)
    assert large.high < 1


def test_devices_that_differ_more_or_are_fewer_make_it_wider():
    def width(logs):
        found = predicted([Seen(f"d{n}", (), each, 0.01) for n, each in enumerate(logs)], ())
        return log(found.high / found.low)

    alike, apart = [-0.40, -0.42, -0.38, -0.41], [-0.9, 0.1, -0.5, 0.2]
    assert width(alike) < width(apart)
    assert width(alike * 3) < width(alike)


def test_too_few_devices_are_refused():
    seen = [Seen(f"d{number}", (), -0.1, 0.01) for number in range(LEAST_DEVICES - 1)]
    with pytest.raises(ValueError, match="too few"):
        predicted(seen * 3, ())


def test_each_device_is_left_out_in_turn():
    random = np.random.default_rng(3)
    known, rest = world(random, 7, 0.1)
    seen = [each for _, each in (*known, *rest)]
    found = left_out(seen)
    assert found.of == len(seen)
    assert found.share > 0.85
    odd = [each._replace(log_ratio=2.0) if each.device == "device 0" else each for each in seen]
    assert left_out(odd).held < found.held
