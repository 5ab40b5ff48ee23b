"""What a value may be: each mistake is one sentence with the key, the value and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import is_dataclass
from typing import Any

from greenbench.errors import UserError
from greenbench.wording import meant


def require(ok: bool, key: str, value: object, allowed: str) -> None:
    """Raise one sentence naming `key`, its `value` and what is `allowed`, unless `ok`."""
    if not ok:
        raise UserError(f"{key}={value} is out of range: allowed is {allowed}.")


def require_choice(value: str, key: str, allowed: Iterable[str]) -> None:
    """Raise one sentence unless `value` is one of `allowed`."""
    names = sorted(allowed)
    if value not in names:
        raise UserError(
            f"{key}={value} is unknown: allowed are {', '.join(names)}{meant(value, names)}."
        )


AUTO = "auto"
DEVICE = re.compile(r"auto|cpu|cuda(_all|:[0-9]{1,3})?")
MOST_SEED = 2**32 - 1
"""numpy takes no greater one, and none below 0."""
MOST_BLOCKS = 10_000
MOST = 2**53
"""A greater number is not the same one in every program that reads a record."""


def require_seed(key: str, value: int) -> None:
    """Raise one sentence unless all that draws takes `value`."""
    require(0 <= value <= MOST_SEED, key, value, f"0 to {MOST_SEED}")


def require_storable(spec: Any, key: str = "") -> None:
    """Raise one sentence for a number in `spec`, a dataclass in a run's, that no record can hold."""
    for name, value in _parts(spec):
        place = f"{key}.{name}" if key else name
        if isinstance(value, int | float):
            require(abs(value) <= MOST, place, value, f"a number up to {MOST}")
        elif isinstance(value, list) and any(isinstance(each, list | dict) for each in value):
            raise UserError(f"{place}={value} is a list in a list: write one list, as in [a,b].")
        elif is_dataclass(value) or isinstance(value, dict):
            require_storable(value, place)


def _parts(spec: Any) -> Iterable[tuple[str, Any]]:
    return spec.items() if isinstance(spec, dict) else vars(spec).items()


def require_hub_id(text: str) -> None:
    """Raise UserError for what no hub can call a model."""
    from huggingface_hub.errors import HFValidationError  # as long as to compose a run
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(text)
    except HFValidationError as error:
        raise UserError(
            f"{text!r} is no id that a model can have on the hub: it is NAME or OWNER/NAME, of letters, "
            "digits, and single dots and dashes between them, as in Qwen/Qwen3-0.6B."
        ) from error


def require_device(device: str) -> None:
    """Raise UserError for what names no device."""
    if not DEVICE.fullmatch(device):
        raise UserError(
            f"device={device} is not allowed: allowed are auto, cpu, cuda, cuda:N for one of several GPUs, "
            "and cuda_all for one model over all of them."
        )
