"""The scorer's script on a runtime that notes what it is given, in place of OpenVINO's."""

import importlib
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

SCRIPT = "greenbench.engines.openvino.score_ir"
WORDS = 8


class State:
    """Keys of all tokens read, or numbers that sum them up."""

    def __init__(self, shape):
        self.shape, self.read = shape, 0

    @property
    def state(self):
        shape = [self.read if size is None else size for size in self.shape]
        return SimpleNamespace(data=np.zeros(shape), shape=shape)

    @state.setter
    def state(self, numbers):
        self.read = numbers.shape[2]


class Runtime:
    """A model that thinks all words equally likely; it notes how many tokens each pass is given."""

    def __init__(self, shapes):
        self.states, self.given = [State(shape) for shape in shapes], []
        self.inputs = [SimpleNamespace(names={"input_ids", "attention_mask"})]

    def compile_model(self, *_):
        return self

    def create_infer_request(self):
        return self

    def query_state(self):
        return self.states

    def reset_state(self):
        for state in self.states:
            state.read = 0

    def infer(self, given):
        (tokens,) = given["input_ids"]
        self.given.append(len(tokens))
        for state in self.states:
            state.read += len(tokens)
        return {"logits": np.zeros((1, len(tokens), WORDS))}


@pytest.mark.parametrize(
    ("shapes", "given"),
    [
        ([(1, 2, None, 4), (1, 2, None, 4)], [5, 2]),
        ([(1, 2, None, 4), (1, 16, 4)], [5, 5]),  # a recurrent state
        ([(1, 2, None, 4), (1, 2, 3, 4)], [5, 5]),  # keys of a window
    ],
)
def test_a_beginning_is_kept_only_where_all_states_are_of_each_token(monkeypatch, shapes, given):
    openvino, runtime = ModuleType("openvino"), Runtime(shapes)
    openvino.Core, openvino.Tensor = lambda: runtime, lambda numbers: numbers
    monkeypatch.setitem(sys.modules, "openvino", openvino)
    sys.modules.pop(SCRIPT, None)
    reader = importlib.import_module(SCRIPT).Reader("m", {})
    sys.modules.pop(SCRIPT)
    for text in ([1, 2, 3, 4, 5], [1, 2, 3, 6, 7]):
        nats, greedy = reader.answer(text, text[-2:])
        assert nats == pytest.approx(-2 * np.log(WORDS))
        assert greedy
    assert runtime.given == given
