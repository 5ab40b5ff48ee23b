"""The two models of a run: both loaded, or in turn where the device cannot hold both."""

from __future__ import annotations

import gc
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import psutil
import torch

from greenbench.schema.record import Who
from greenbench.schema.spec import Design

ROOM = 1.3  # a second model needs its weights again, and this much more for what it computes
Around = Callable[[Any], AbstractContextManager[object]]
"""Takes the candidate and gives what must hold while it runs, such as a GPU's power limit."""


def free_bytes(device: torch.device, spread: bool) -> int:
    """Memory that is free on `device`, or on all GPUs where the model is spread over them."""
    if device.type != "cuda":
        return int(psutil.virtual_memory().available)
    gpus = range(torch.cuda.device_count()) if spread else (device,)
    return sum(torch.cuda.mem_get_info(gpu)[0] for gpu in gpus)


def apart_reason(
    design: Design, device: torch.device, model_bytes: int, *, spread: bool = False
) -> str | None:
    """Why two models of `model_bytes` are to be measured in turn on `device`; null: together.

    Call it with the first of the two loaded.
    """
    if design is Design.interleaved:
        return None
    if design is Design.sequential:
        return "protocol.design=sequential asks for it"
    free = free_bytes(device, spread)
    if free >= ROOM * model_bytes:
        return None
    return (
        f"a second model of {model_bytes / 2**30:.1f} GiB does not fit beside the first: "
        f"{free / 2**30:.1f} GiB are free"
    )


def empty_caches() -> None:
    """Let go of what no one holds any more, on the host and on the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


class Pair(ABC):
    """Baseline and candidate. Whoever runs one of them says so, as the candidate's surroundings differ."""

    def __init__(self, around: Around = nullcontext) -> None:
        self._around = around

    @abstractmethod
    def __getitem__(self, who: Who) -> Any:
        """The model, to look at."""

    @contextmanager
    def use(self, who: Who) -> Iterator[Any]:
        """The model, to run, in its surroundings."""
        model = self[who]
        with self._around(model) if who == "candidate" else nullcontext():
            yield model


class Together(Pair):
    """Both models are loaded."""

    def __init__(self, models: Mapping[Who, Any], around: Around = nullcontext) -> None:
        super().__init__(around)
        self._models = models

    def __getitem__(self, who: Who) -> Any:
        return self._models[who]


class InTurn(Pair):
    """Holds one model at a time: asking for the other unloads it and makes the other."""

    def __init__(
        self, make: Mapping[Who, Callable[[], Any]], first: Any, around: Around = nullcontext
    ) -> None:
        """`make` loads (and prepares) a model; `first` is the baseline, already loaded."""
        super().__init__(around)
        self._make = make
        self._who: Who = "baseline"
        self._model = first

    def __getitem__(self, who: Who) -> Any:
        if who != self._who:
            self._model = None
            empty_caches()
            self._who, self._model = who, self._make[who]()
        return self._model
