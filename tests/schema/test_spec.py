"""What a spec refuses."""

import pytest
from helpers.windows import protocol

from greenbench.errors import UserError
from greenbench.schema.enums import Tier
from greenbench.schema.ranges import require_choice


def test_a_protocol_may_not_promise_more_than_it_does():
    with pytest.raises(UserError, match="promises"):
        protocol(tier=Tier.dev, window_s=5, blocks=5)
    with pytest.raises(UserError, match="max_blocks=2"):
        protocol(blocks=3, max_blocks=2)


def test_an_unknown_name_is_answered_with_those_that_are_close():
    with pytest.raises(
        UserError, match=r"unknown: allowed are gptq, int8_bnb \(did you mean int8_bnb"
    ):
        require_choice("int8_bmb", "technique", ["int8_bnb", "gptq"])
    with pytest.raises(UserError, match=r"technique=x is unknown: allowed are gptq, int8_bnb\.$"):
        require_choice("x", "technique", ["int8_bnb", "gptq"])
