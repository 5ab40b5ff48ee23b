"""Floating-point type of weights and activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from greenbench.engines.engine import Form
from greenbench.schema.enums import Dtype as DtypeName
from greenbench.schema.technique import Promise
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits


@dataclass(frozen=True)
class Dtype(ModelEdit):
    """Hold and run the model in another floating-point type."""

    name: ClassVar[str] = "dtype"
    summary: ClassVar[str] = "weights and activations in another floating-point type"
    form: ClassVar[Form] = "safetensors"

    to: DtypeName

    def traits(self) -> Traits:
        """Only plain weights can be cast."""
        return Traits(needs_plain_weights=True)

    def promise(self, model: Any) -> Promise:
        """Bytes scale with the type's width."""
        before, after = model.dtype.itemsize, self._torch().itemsize
        return Promise(
            bytes_ratio=after / before, note=f"{8 * before} to {8 * after} bits a weight"
        )

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Cast every floating-point weight and buffer but the rotary frequencies torch keeps in float32."""
        return Edited(model.to(self._torch()))

    def _torch(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.to.value)
        return dtype
