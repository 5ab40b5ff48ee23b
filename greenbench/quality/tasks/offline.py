"""Looking at tasks where nothing may be fetched: those whose data is not here pass unseen, and are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module

SWITCHES = (
    ("huggingface_hub.constants", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_HUB_OFFLINE"),
    ("evaluate.config", "HF_EVALUATE_OFFLINE"),
)
"""What each of these libraries goes by, whatever the environment said when it was imported."""
_UNSEEN: ContextVar[set[str] | None] = ContextVar("unseen", default=None)


@contextmanager
def fetching_nothing() -> Iterator[set[str]]:
    """Within this context no hub is asked for a task; the set gets the names of those that pass unseen."""
    found = set[str]()
    token = _UNSEEN.set(found)
    try:
        yield found
    finally:
        _UNSEEN.reset(token)


def unseen() -> set[str] | None:
    """That set; null: data may be fetched."""
    return _UNSEEN.get()


@contextmanager
def as_allowed() -> Iterator[None]:
    """Where nothing may be fetched, within this context HF's libraries fetch nothing."""
    if unseen() is None:
        yield
        return
    modules = [(import_module(name), switch) for name, switch in SWITCHES]
    before = [getattr(module, switch) for module, switch in modules]
    for module, switch in modules:
        setattr(module, switch, True)
    try:
        yield
    finally:
        for (module, switch), value in zip(modules, before, strict=True):
            setattr(module, switch, value)


def is_absence(error: BaseException | None) -> bool:
    """Whether that is what HF's libraries raise for what is not here, while they may not fetch it."""
    return isinstance(error, OSError) or "Couldn't find cache" in str(error)
