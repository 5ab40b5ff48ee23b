"""What an override stands for is what Hydra reads in it."""

import math

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st

from greenbench.campaign.command import in_grammar
from greenbench.records.values import value_of

PARSER = OverridesParser.create()
WORDS = ["null", "TRUE", "inf", "1e3", "'a'", "[a,b]", "{a:1}", "int("]
SIGNS = [*"ab019 0.,:[]{}()'\"\\-_e+=/@~!&?|*#", *WORDS]
TEXT = st.text("ab '\"\\,:[(")
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
NAMES = st.text("abc_", min_size=1)
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=6
)


def hydras(text):
    """The value in Hydra's own reading. Raises HydraException where it is none."""
    override = PARSER.parse_override(f"key={text}")
    if override.is_sweep_override():
        raise HydraException("several")
    return bare(override._value)


def bare(value):
    match value:
        case QuotedString():
            return value.text
        case list():
            return [bare(each) for each in value]
        case dict():
            return {str(bare(name)): bare(each) for name, each in value.items()}
    return value


def alike(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and one == other


@given(st.lists(st.sampled_from(SIGNS), max_size=7).map("".join))
def test_nothing_is_read_otherwise_than_hydra_reads_it(text):
    """Else a call could say one thing here and another where it is run; what is not read is not shown."""
    try:
        mine = value_of(text)
    except ValueError:
        return
    try:
        theirs = hydras(text)
    except HydraException:
        return
    assert alike(mine, theirs)


@given(NESTED.filter(lambda value: value != ""))
def test_what_a_command_writes_is_read_back(value):
    text = in_grammar(value)
    assert value_of(text) == hydras(text) == value


@pytest.mark.parametrize(
    "text", ["a,b", "[a", "{a}", "choice(a,b)", "int(1)", "'a", "[a]b", "[" * 99, ": "]
)
def test_what_is_no_one_value_is_none(text):
    with pytest.raises(ValueError, match=r"missing|follows|too deep|need quotes"):
        value_of(text)
