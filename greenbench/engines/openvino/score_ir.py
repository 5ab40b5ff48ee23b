"""Scores texts with OpenVINO's own runtime, a whole text in one pass: a script, its options as JSON.

The server tells log-probabilities of a prompt's tokens, but not which token is the likeliest; the runtime
beneath it reads the same files. Takes a query a line from its input, and ends with it. Imports nothing
of ours.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import openvino as ov

READ = 512
"""Tokens that are read in one go, as their logits take room."""


def main(options: str) -> None:
    """``{"model": PATH, "properties": {...}}``"""
    reader = Reader(**json.loads(options))
    for line in sys.stdin:
        print(json.dumps(reader.answer(*json.loads(line))), flush=True)


class Reader:
    """A model, and what it still knows of the text before."""

    def __init__(self, model: str, properties: Mapping[str, Any]) -> None:
        compiled = ov.Core().compile_model(f"{model}/openvino_model.xml", "CPU", dict(properties))
        self._asks = compiled.create_infer_request()
        self._names = {name for each in compiled.inputs for name in each.names}
        self._known: Sequence[int] = ()

    def answer(self, tokens: Sequence[int], targets: Sequence[int]) -> tuple[float, bool]:
        """Log-likelihood of `targets` after the last of `tokens`, and whether each is the likeliest."""
        first = len(tokens) - len(targets)
        nats, greedy = 0.0, True
        for place, row in self._rows(tokens, self._kept(tokens, first), first):
            target, top = targets[place - first], row.max()
            nats += float(row[target] - top - np.log(np.exp(row - top).sum()))
            greedy = greedy and bool(row[target] == top)
        self._known = tokens
        return nats, greedy

    def _kept(self, tokens: Sequence[int], first: int) -> int:
        """Tokens that need not be read again: the keys and values of all others are dropped.

        None where a state is anything but keys or values by token: (batch, heads, tokens, width).
        """
        start, states = min(_alike(self._known, tokens), first), self._asks.query_state()
        held = {tuple(state.state.shape)[2:-1] for state in states}
        if start == 0 or held != {(len(self._known),)}:  # some are no keys or values of each token
            self._asks.reset_state()
            return 0
        for state in states:
            state.state = ov.Tensor(np.ascontiguousarray(state.state.data[:, :, :start]))
        return start

    def _rows(
        self, tokens: Sequence[int], start: int, first: int
    ) -> "Iterator[tuple[int, np.ndarray[Any, np.dtype[np.float64]]]]":
        """Read from `start`; what is said after each place from `first` on, as logits by token."""
        for begin in range(start, len(tokens), READ):
            end = min(begin + READ, len(tokens))
            given = {
                "input_ids": np.array([tokens[begin:end]], dtype=np.int64),
                "attention_mask": np.ones((1, end), dtype=np.int64),
                "position_ids": np.arange(begin, end, dtype=np.int64)[None],
                "beam_idx": np.zeros(1, dtype=np.int32),
            }
            said = self._asks.infer({name: given[name] for name in given.keys() & self._names})
            logits = said["logits"][0]
            for place in range(max(begin, first), end):
                yield place, logits[place - begin].astype(np.float64)


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens with which both begin."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


if __name__ == "__main__":
    main(sys.argv[1])
