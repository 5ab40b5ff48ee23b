"""Why time was not saved, by name: what a profile must show for it, and the experiment that would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from greenbench.schema.profile import Kind
from greenbench.stats.intervals import Interval

SLOWER: Final = 0.15
"""By so much longer a multiplication takes where its kernel is called slower."""
OTHERS: Final = 0.25
"""Of the multiplications: where so many are missing, other operators do them."""
PIECES: Final = 4
"""Times as many products: they are cut up."""

SLOW = "slow kernel"
DEQUANTIZATION = "dequantization"
LAUNCHES = "launch gaps"
HOST = "host bound"
COMPUTE = "not memory bound at this batch"
CACHE = "KV cache outweighs weights"
OWN = "own code"
FALLBACK = "fallback to a slow kernel"
AMDAHL = "saved part too small"
SPILLED = "weights copied"
WAITS = "waits"
ZEROS = "dense kernel"


class Named(NamedTuple):
    """What a cause is, and how to see for oneself."""

    evidence: str
    """What the profile must show."""
    kinds: Sequence[Kind]
    """Whose operators are named with it."""
    experiment: str
    """What would change if it is the cause."""


CAUSES: Final[Mapping[str, Named]] = MappingProxyType({
    SLOW: Named(
        f"a multiplication takes over {100 * SLOWER:.0f} % longer than the baseline's in products whose "
        "matrices are read as they are",
        ("packed products", "products"),
        "a larger batch or another width, at which its kernel is as fast as the dense one",
    ),
    DEQUANTIZATION: Named(
        "whole matrices are turned into another number format while it answers, and then multiplied by the "
        "baseline's kernels",
        ("conversions", "matrix work"),
        "a kernel that multiplies by packed weights, or compiled decoding, which may join both",
    ),
    LAUNCHES: Named(
        "operators that take no longer than to begin one, a GPU that waits for them, or products cut into "
        f"{PIECES} times as many",
        ("launches", "products"),
        "compiled decoding, or a larger batch",
    ),
    HOST: Named(
        "time outside of torch's operators in which the process computes: Python, or what that calls beside "
        "torch",
        (),
        "compiled decoding with CUDA graphs, which leaves out Python, or a larger batch",
    ),
    COMPUTE: Named(
        "bytes were promised, and the products' time goes with the rows that are multiplied",
        ("products", "packed products"),
        "a batch of 1, and shorter prompts",
    ),
    CACHE: Named(
        "attention and its cache take longer than all products with weights",
        ("attention",),
        "shorter prompts or answers, or a technique for the cache",
    ),
    OWN: Named(
        "operators that the baseline does not run, or not as long, and that are none of the above",
        ("operators", "matrix work", "attention"),
        "the same technique with what it adds left out, or compiled",
    ),
    FALLBACK: Named(
        f"{100 * OTHERS:.0f} % or more of the multiplications are in no product any more, and other "
        "operators go through about as many numbers instead",
        ("matrix work", "operators", "launches"),
        "another number format or device, for which there is a kernel",
    ),
    AMDAHL: Named(
        "the same operators take as long as the baseline's: the technique does not reach them",
        ("products", "operators", "attention"),
        "a larger model, in which what the technique changes weighs more",
    ),
    SPILLED: Named(
        "whole matrices are copied, in one number format, while it answers",
        ("copies",),
        "a smaller model or a device with more memory, so that all weights stay in place",
    ),
    WAITS: Named(
        "time between operators in which the process sleeps",
        (),
        "the same without what it waits for: a lock, a transfer, another process",
    ),
    ZEROS: Named(
        "zeros were promised, and the products are the baseline's",
        ("products",),
        "a kernel for that pattern of zeros, or structured pruning",
    ),
})  # fmt: skip
"""By name, as long as no other is meant."""


class Claim(NamedTuple):
    """What was promised, as ratios to the baseline."""

    ratio: float = 1.0
    """The most that was to be saved of all; 1: nothing."""
    work: float = 1.0
    """Multiplications."""
    zeros: bool = False
    """Whether weights are zero."""


class Cause(NamedTuple):
    """A cause that the profile shows."""

    name: str
    share: Interval
    """Of the lost time."""
    text: str
    operators: Sequence[str]

    @property
    def experiment(self) -> str:
        """What would show it."""
        return CAUSES[self.name].experiment


class Split(NamedTuple):
    """The lost time and its causes, the largest first."""

    took: Interval | None = None
    """Time over that which was promised, as a ratio; null of too few repetitions."""
    causes: Sequence[Cause] = ()
    unexplained: float | None = None
    """The share that no cause has; null where none was looked for."""
    reason: str | None = None
    """Why no cause was looked for."""
