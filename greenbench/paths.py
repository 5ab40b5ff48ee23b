"""Where things outside a results directory lie."""

from __future__ import annotations

import os
from pathlib import Path


def conf_dir() -> Path:
    """``conf/``: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def cache_dir() -> Path:
    """Directory for what is made once and used often; ``GREENBENCH_CACHE`` moves it."""
    return Path(os.environ.get("GREENBENCH_CACHE") or Path.home() / ".cache" / "greenbench")
