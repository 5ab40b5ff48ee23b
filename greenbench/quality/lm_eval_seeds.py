"""Tasks may draw at random as they are made: here they draw what stock lm-eval draws."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED


@contextmanager
def seeded() -> Iterator[None]:
    """Python's and NumPy's generators start as in lm-eval's `simple_evaluate`; given back afterwards."""
    before = random.getstate(), np.random.get_state()
    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
