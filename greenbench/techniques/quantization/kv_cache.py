"""Quantization of the key-value cache, by transformers' own cache on optimum-quanto."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from greenbench.engines.engine import Engine
from greenbench.errors import UserError
from greenbench.machine.detect import Machine
from greenbench.models.weights import storage_bytes
from greenbench.schema.ranges import require
from greenbench.schema.spec import WorkloadSpec
from greenbench.schema.technique import Promise
from greenbench.techniques.quantization.linear_layers import require_package
from greenbench.techniques.quantization.quanto_kernels import load_kernels, require_compilers
from greenbench.techniques.technique import Edited, ModelEdit, Preparation, Traits

if TYPE_CHECKING:
    from transformers.cache_utils import Cache


@dataclass(frozen=True)
class KvQuanto(ModelEdit):
    """Keys and values in 4 or 2 bits, the newest tokens in full (KIVI, arXiv 2402.02750).

    transformers groups along the head, where KIVI groups keys along tokens.
    """

    name: ClassVar[str] = "kv_quanto"
    summary: ClassVar[str] = "keys and values in few bits, the newest tokens in full"
    paper: ClassVar[str | None] = "arXiv:2402.02750"
    packages: ClassVar[tuple[str, ...]] = ("optimum-quanto",)

    nbits: int = 4
    residual_length: int = 128
    """Generated tokens kept in full until they are so many, when all are packed."""
    q_group_size: int = 64
    """Numbers of one head that share a scale and a zero."""

    def __post_init__(self) -> None:
        key = "technique.kv_quanto"
        require(self.nbits in (2, 4), f"{key}.nbits", self.nbits, "2 or 4")
        length, size = self.residual_length, self.q_group_size
        require(length >= 1, f"{key}.residual_length", length, "1 or more")
        require(size >= 1, f"{key}.q_group_size", size, "1 or more")

    def traits(self) -> Traits:
        """Every request gets its cache."""
        return Traits(chooses_cache=True)

    def check(self, machine: Machine, engine: Engine) -> None:
        """The package must be there, and what compiles it; it runs on any device."""
        require_package(self.name, "optimum-quanto", "optimum.quanto")
        require_compilers(self.name, machine)

    def check_model(self, config: Any, workload: WorkloadSpec) -> None:
        """Groups must divide a head; layers with a sliding window have no such cache."""
        from transformers.cache_utils import get_layer_types_and_kwargs

        text = config.get_text_config()
        width = _head_width(text)
        if width % self.q_group_size:
            raise UserError(
                f"technique.kv_quanto.q_group_size={self.q_group_size} does not divide the "
                f"{width} numbers of a head: choose a divisor of {width}."
            )
        kinds, _ = get_layer_types_and_kwargs(text)  # what transformers makes a cache by
        if set(kinds) - {"full_attention"}:
            raise UserError(
                f"technique=kv_quanto needs full attention in every layer, and {text.model_type} "
                "has others, whose cache cannot be packed: choose another model."
            )

    def promise(self, model: Any) -> Promise:
        """No weight changes; the cache shrinks to the stored bits, scales and zeros."""
        bits = 8 * model.dtype.itemsize
        packed = self.nbits + 2 * bits / self.q_group_size
        return Promise(
            bytes_ratio=1.0,
            kernel="dequantize",
            note=f"weights as they were; {bits} to {packed:g} bits a number in the cache, which "
            "is expanded at each step; scored as if all of the context were packed",
        )

    def install(self, device: torch.device) -> None:
        """quanto's code, which unpacks."""
        load_kernels(device)

    def edit(self, model: Any, work: Preparation) -> Edited:
        """Give every request such a cache, and every scored text the rounding it brings."""
        self.install(work.device)
        make = partial(self._cache, model.config)
        loop = partial(_generate, work.loop or model.generate, make, work.observed)
        rounded = partial(self._rounding_cache, model.config)
        model.register_forward_pre_hook(partial(_score_rounded, rounded), with_kwargs=True)
        return Edited(model, loop, scored_whole=True)

    def _cache(self, config: Any) -> Cache:
        from transformers.cache_utils import QuantizedCache

        return QuantizedCache(backend="quanto", config=config, **self._options())

    def _rounding_cache(self, config: Any) -> Cache:
        """A cache that already gives the first tokens back as it would give them later."""
        from transformers.cache_utils import Cache, QuantoQuantizedLayer

        class Rounding(QuantoQuantizedLayer):  # type: ignore[misc]  # transformers is untyped
            def update(self, keys: Any, values: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
                super().update(keys, values, *args, **kwargs)
                return self._dequantize(self._quantized_keys), self._dequantize(
                    self._quantized_values
                )

        depth = config.get_text_config().num_hidden_layers
        return Cache(layers=[Rounding(**self._options()) for _ in range(depth)])

    def _options(self) -> dict[str, int]:
        return {
            "nbits": self.nbits,
            "residual_length": self.residual_length,
            "q_group_size": self.q_group_size,
        }


def _generate(
    generate: Callable[..., Any],
    make: Callable[[], Cache],
    observed: dict[str, Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Call `generate` with a fresh cache, and keep what the first one took."""
    cache = make()
    output = generate(*args, past_key_values=cache, **kwargs)
    if not observed:
        observed.update(cache_bytes=cache_bytes(cache), cache_tokens=int(cache.get_seq_length()))
    return output


def cache_bytes(cache: Cache) -> dict[str, int]:
    """Bytes that a cache's keys and values truly take, by storage dtype."""
    holder = nn.Module()
    holder.held = [vars(layer) for layer in cache.layers]  # type: ignore[assignment]
    return storage_bytes(holder)


def _score_rounded(
    make: Callable[[], Cache], _: nn.Module, args: Any, kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """A forward pass of its own, as scoring runs it, would never read a packed key otherwise."""
    if kwargs.get("past_key_values") is None and kwargs.get("use_cache") is not False:
        kwargs["past_key_values"] = make()
    return args, kwargs


def _head_width(text: Any) -> int:
    width = getattr(text, "head_dim", None)
    return int(width or text.hidden_size // text.num_attention_heads)
