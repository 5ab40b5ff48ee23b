"""Knobs: the fields of a technique or an engine, against their defaults."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import MISSING, Field, fields
from enum import Enum
from typing import Any


def default(knob: Field[Any]) -> Any:
    """The knob's default, or MISSING, which nothing equals."""
    return knob.default if knob.default_factory is MISSING else knob.default_factory()


def changed(owner: Any, told: Collection[str] = ()) -> dict[str, Any]:
    """The knobs of `owner` that are other than their defaults, and those `told`; an enum by its value."""
    values = {knob.name: (getattr(owner, knob.name), default(knob)) for knob in fields(owner)}
    return {
        name: value.value if isinstance(value, Enum) else value
        for name, (value, usual) in values.items()
        if value != usual or name in told
    }
