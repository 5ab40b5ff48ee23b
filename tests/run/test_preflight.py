"""What is refused before a run."""

import pytest
from helpers.windows import Watts, protocol

from greenbench.errors import UserError
from greenbench.meters import OpenMeters
from greenbench.run.preflight import require_ticks


def test_windows_shorter_than_ten_ticks_are_refused():
    meter = Watts(1.0)
    meter.tick_s = 0.1
    require_ticks(OpenMeters(meters=[meter]), protocol(window_s=1.0))
    with pytest.raises(UserError, match=r"window_s=0.5.*10 ticks"):
        require_ticks(OpenMeters(meters=[meter]), protocol(window_s=0.5))
