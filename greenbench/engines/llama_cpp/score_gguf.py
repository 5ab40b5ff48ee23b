"""Scores texts with llama.cpp's own library, a whole text in one pass: a script, its options as JSON.

The server tells log-probabilities only of tokens that it makes, one after another; the library beneath it
reads a text at once, and is in the same wheel. Takes a query a line from its input, and ends with it.
Imports nothing of ours.
"""

import ctypes
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xllamacpp.xllamacpp

READ = 512
"""Tokens that are read in one go, as the server does."""
INT, POINTER, INTS = ctypes.c_int32, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int32)


class Params(ctypes.Structure):
    """Of a model or a context, by value. What begins a context's is named; what follows is passed on as it
    comes, and there is room for more than there is."""

    _fields_ = (
        ("context", ctypes.c_uint32),
        ("batch", ctypes.c_uint32),
        ("at_once", ctypes.c_uint32),
        ("others", ctypes.c_char * 1024),
    )


class Batch(ctypes.Structure):
    """``llama_batch``: what is read, and of which tokens the logits are told."""

    _fields_ = (
        ("tokens", INT),
        ("token", INTS),
        ("embedding", POINTER),
        ("place", INTS),
        ("sequences", INTS),
        ("sequence", ctypes.POINTER(INTS)),
        ("told", ctypes.POINTER(ctypes.c_int8)),
        ("others", ctypes.c_char * 64),
    )


FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "backend_init": (None,),
    "model_default_params": (Params,),
    "model_load_from_file": (POINTER, ctypes.c_char_p, Params),
    "model_get_vocab": (POINTER, POINTER),
    "vocab_n_tokens": (INT, POINTER),
    "context_default_params": (Params,),
    "init_from_model": (POINTER, POINTER, Params),
    "n_batch": (ctypes.c_uint32, POINTER),
    "n_ubatch": (ctypes.c_uint32, POINTER),
    "set_n_threads": (None, POINTER, INT, INT),
    "get_memory": (POINTER, POINTER),
    "memory_seq_rm": (ctypes.c_bool, POINTER, INT, INT, INT),
    "batch_init": (Batch, INT, INT, INT),
    "decode": (INT, POINTER, Batch),
    "get_logits_ith": (ctypes.POINTER(ctypes.c_float), POINTER, INT),
}
"""What each gives, and takes: llama.h."""


def main(options: str) -> None:
    """``{"model": PATH, "threads": N, "context": N}``"""
    reader = Reader(**json.loads(options))
    for line in sys.stdin:
        print(json.dumps(reader.answer(*json.loads(line))), flush=True)


class Library:
    """llama.cpp's functions, without the first part of their names."""

    def __init__(self) -> None:
        library = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
        for name, (gives, *takes) in FUNCTIONS.items():
            function = getattr(library, f"llama_{name}")
            function.restype, function.argtypes = gives, takes
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class Reader:
    """A model, and what it still knows of the text before."""

    def __init__(self, model: str, threads: int, context: int) -> None:
        self._llama = llama = Library()
        llama.backend_init()
        weights = llama.model_load_from_file(model.encode(), llama.model_default_params())
        params = llama.context_default_params()
        self._read = min(READ, context)
        params.context, params.batch, params.at_once = context, self._read, self._read
        self._context = llama.init_from_model(weights, params)
        if {llama.n_batch(self._context), llama.n_ubatch(self._context)} != {self._read}:
            raise RuntimeError("llama_context_params begins in another way")
        llama.set_n_threads(self._context, threads, threads)
        self._memory = llama.get_memory(self._context)
        self._batch = llama.batch_init(self._read, 0, 1)
        self._words = llama.vocab_n_tokens(llama.model_get_vocab(weights))
        self._known: Sequence[int] = ()

    def answer(self, tokens: Sequence[int], targets: Sequence[int]) -> tuple[float, bool]:
        """Log-likelihood of `targets` after the last of `tokens`, and whether each is the likeliest."""
        first = len(tokens) - len(targets)
        start = min(_alike(self._known, tokens), first)
        if not self._llama.memory_seq_rm(self._memory, 0, start, -1):
            raise RuntimeError("llama_memory_seq_rm failed")
        nats, greedy = 0.0, True
        for place, row in self._rows(tokens, start, first):
            target, top = targets[place - first], row.max()
            nats += float(row[target] - top - np.log(np.exp(row - top).sum()))
            greedy = greedy and bool(row[target] == top)
        self._known = tokens
        return nats, greedy

    def _rows(
        self, tokens: Sequence[int], start: int, first: int
    ) -> Iterator[tuple[int, "np.ndarray[Any, np.dtype[np.float64]]"]]:
        """Read from `start`; what is said after each place from `first` on, as logits by token."""
        batch = self._batch
        for begin in range(start, len(tokens), self._read):
            places = range(begin, min(begin + self._read, len(tokens)))
            batch.tokens = len(places)
            for i, place in enumerate(places):
                batch.token[i], batch.place[i], batch.told[i] = tokens[place], place, place >= first
                batch.sequences[i], batch.sequence[i][0] = 1, 0
            if self._llama.decode(self._context, batch):
                raise RuntimeError("llama_decode failed")
            for i, place in enumerate(places):
                if place >= first:
                    logits = self._llama.get_logits_ith(self._context, i)
                    row = np.ctypeslib.as_array(logits, (self._words,))
                    yield place, row.astype(np.float64)


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens with which both begin."""
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


if __name__ == "__main__":
    main(sys.argv[1])
