"""lm-eval talks to people at a terminal; here it runs inside a run that has its own progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import datasets
import lm_eval.api.model
import lm_eval.api.task
import lm_eval.models.huggingface

BARS = (lm_eval.api.model, lm_eval.api.task, lm_eval.models.huggingface)


@contextmanager
def quiet() -> Iterator[None]:
    """Within this context lm-eval and datasets show no progress bars, and lm-eval logs errors only."""
    logger = logging.getLogger("lm_eval")
    shown = not datasets.are_progress_bars_disabled()
    level, bars = logger.level, [module.tqdm for module in BARS]
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    for module, bar in zip(BARS, bars, strict=True):  # lm-eval has no switch for all of them
        module.tqdm = _hidden(bar)
    try:
        yield
    finally:
        logger.setLevel(level)
        if shown:
            datasets.enable_progress_bars()
        for module, bar in zip(BARS, bars, strict=True):
            module.tqdm = bar


def _hidden(bar: Any) -> Callable[..., Any]:
    return lambda *args, **options: bar(*args, **(options | {"disable": True}))
