"""What a spec refuses."""

import pytest
from helpers.windows import protocol

from greenbench.errors import UserError
from greenbench.schema.enums import Tier


def test_a_protocol_may_not_promise_more_than_it_does():
    with pytest.raises(UserError, match="promises"):
        protocol(tier=Tier.dev, window_s=5, blocks=5)
    with pytest.raises(UserError, match="max_blocks=2"):
        protocol(blocks=3, max_blocks=2)
