"""Two models that answer as one."""

import math

import pytest

from greenbench.engines.cascade import Cascade, Rule
from greenbench.engines.engine import Completion, Footprint, Request
from greenbench.engines.query import confidence
from greenbench.engines.writing import Ask, Written
from greenbench.errors import EngineFault


class Model:
    """Answers with its name; how sure it is of each question stands in the question's first token."""

    tokenizer = None

    def __init__(self, name, clock, parameters=1, tells=True, limit=None):
        self.name, self.max_tokens, self._clock = name, limit, clock
        self._parameters, self._tells = parameters, tells
        self.asked = []

    def _done(self, asks):
        self.asked.append(list(asks))
        sent_s = self._clock[0]
        self._clock[0] += 1.0
        return [
            Completion(2, len(ask.tokens), sent_s, (sent_s + 0.5, sent_s + 1.0), sent_s + 1.0,
                       ask.tokens[0] / 100 if ask.sure and self._tells else None)
            for ask in asks
        ]  # fmt: skip

    complete = _done

    def write(self, asks):
        return [Written(self.name, each, cut=False) for each in self._done(asks)]

    def footprint(self):
        return Footprint(self._parameters, 3, {"bf16": 2 * self._parameters, self.name: 1})

    def device_peak_bytes(self):
        return 5 * self._parameters

    def pids(self):
        return frozenset()


def cascade(threshold=0.5, **how):
    clock, seen = [100.0], {}
    small, large = Model("small", clock, **how), Model("large", clock, 10, limit=64)
    return Cascade(small, large, Rule(threshold, seen)), small, large, seen


def test_what_the_small_model_doubts_is_the_large_ones():
    both, small, large, seen = cascade()
    found = both.write([Ask((90,), 9), Ask((49,), 9), Ask((50,), 9)])
    assert [each.text for each in found] == ["small", "large", "small"]
    assert [each.handed_over for each in found] == [False, True, False]
    assert all(ask.sure for ask in small.asked[0])
    assert large.asked == [[Ask((49,), 9)]]
    assert seen == {"asked": 3, "handed_over": 1}


def test_a_user_waits_for_both_and_tokens_are_the_answers():
    both, *_ = cascade()
    kept, passed = both.complete([Request((60,), 2), Request((10,), 2)])
    assert (kept.sent_s, kept.done_s, kept.tokens) == (100.0, 101.0, 2)
    assert (passed.sent_s, passed.done_s, passed.tokens) == (100.0, 102.0, 2)
    assert passed.ttft_s == 1.5


def test_nobody_else_is_asked_where_nothing_is_doubted():
    both, _, large, seen = cascade(threshold=0.0)
    both.complete([Request((0,), 2)])
    assert large.asked == []
    assert seen == {"asked": 1, "handed_over": 0}


def test_an_infinite_threshold_hands_all_over():
    both, *_ = cascade(threshold=math.inf)
    assert [each.text for each in both.write([Ask((100,), 9)])] == ["large"]


def test_a_model_that_tells_no_probabilities_is_one_sentence():
    both, *_ = cascade(tells=False)
    with pytest.raises(EngineFault, match="does not tell how likely its tokens are"):
        both.complete([Request((60,), 2)])


def test_both_are_held():
    both, *_ = cascade()
    held = both.footprint()
    assert (held.parameters, held.layers) == (11, 6)
    assert held.bytes_by_dtype == {"bf16": 22, "small": 1, "large": 1}
    assert both.max_tokens == 64
    assert both.device_peak_bytes() == 5  # in one process both look at one mark


def test_how_sure_is_the_geometric_mean():
    assert confidence([math.log(0.9), math.log(0.4)]) == pytest.approx(0.6)
    assert confidence([]) is None
