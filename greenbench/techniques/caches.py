"""Who chooses the key-value cache: one technique of a stack at most."""

from __future__ import annotations

from typing import Any

from greenbench.errors import UserError


def claim_cache(model: Any, name: str) -> None:
    """Note on `model` that the technique `name` chooses its cache; UserError where another does."""
    other = vars(model).get("_greenbench_cache")
    if other is not None:
        raise UserError(
            f"technique={name} cannot join {other}, as both choose the key-value cache: "
            "leave one of them out."
        )
    model._greenbench_cache = name
