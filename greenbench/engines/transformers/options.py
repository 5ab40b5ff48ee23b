"""Options of this engine, as techniques say them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def apply_options(model: Any, options: Mapping[str, object]) -> None:
    """Set `options` on `model`, which is changed."""
