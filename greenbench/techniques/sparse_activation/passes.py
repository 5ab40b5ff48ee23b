"""When a pass through a model's blocks begins and ends, whoever calls them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from greenbench.models.parts import decoder_blocks


class Watcher(ABC):
    """Is told of a model's passes, but of training and of what is compiled.

    A copy of the model has a copy of it, which is told of the copy's.
    """

    @abstractmethod
    def begin(self, rows: int, length: int) -> None:
        """Before the first block, which is given so many rows of so many tokens."""

    @abstractmethod
    def end(self) -> None:
        """After the last block."""

    def watch(self, model: Any) -> None:
        """From now on."""
        blocks = decoder_blocks(model)
        blocks[0].register_forward_pre_hook(self._first, with_kwargs=True)
        for parent in model.modules():
            if any(child is blocks for child in parent.children()):
                parent.register_forward_hook(self._last)

    def _first(self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if counts(block):
            rows, length, _width = (args[0] if args else kwargs["hidden_states"]).shape
            self.begin(rows, length)

    def _last(self, whole: nn.Module, *_: Any) -> None:
        if counts(whole):
            self.end()


def counts(module: nn.Module) -> bool:
    """Whether what passes through `module` now is told of."""
    return not module.training and not torch.compiler.is_compiling()
