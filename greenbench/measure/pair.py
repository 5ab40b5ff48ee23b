"""The two models of a run: both loaded, or in turn where the device cannot hold both."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psutil
import torch

from greenbench.records import Who
from greenbench.specs import Design

ROOM = 1.3  # a second model needs its weights again, and this much more for what it computes


def apart_reason(design: Design, device: torch.device, model_bytes: int) -> str | None:
    """Why two models of `model_bytes` are to be measured in turn on `device`; null: together.

    Call it with the first of the two loaded.
    """
    if design is Design.interleaved:
        return None
    if design is Design.sequential:
        return "protocol.design=sequential asks for it"
    on_gpu = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if on_gpu else psutil.virtual_memory().available
    if free >= ROOM * model_bytes:
        return None
    return (
        f"a second model of {model_bytes / 2**30:.1f} GiB does not fit beside the first: "
        f"{free / 2**30:.1f} GiB are free"
    )


class InTurn(Mapping[Who, Any]):
    """Holds one model at a time: asking for the other unloads it and makes the other."""

    def __init__(self, make: Mapping[Who, Callable[[], Any]], first: Any) -> None:
        """`make` loads (and prepares) a model; `first` is the baseline, already loaded."""
        self._make = make
        self._who: Who = "baseline"
        self._model = first

    def __getitem__(self, who: Who) -> Any:
        if who != self._who:
            self._model = None
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._who, self._model = who, self._make[who]()
        return self._model

    def __iter__(self) -> Iterator[Who]:
        return iter(self._make)

    def __len__(self) -> int:
        return len(self._make)
