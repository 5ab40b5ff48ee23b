"""Environments of their own in the cache: for programs whose packages cannot stand beside ours."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from greenbench.paths import cache_dir


@dataclass(frozen=True)
class Environment:
    """A folder with a Python and packages. What is in it is read off its folders, and never imported."""

    name: str
    """Of the folder."""
    variable: str
    """The environment variable that names another folder."""

    def folder(self) -> Path:
        """Where it lies, or would."""
        return Path(os.environ.get(self.variable) or cache_dir() / "engines" / self.name)

    def python(self) -> Path:
        """What runs its programs."""
        return self.folder() / "bin" / "python"

    def version(self, *packages: str) -> str | None:
        """Of the first of `packages` that is there; null where none is."""
        places = [str(place) for place in self.folder().glob("lib/python*/site-packages")]
        for name in packages:
            for found in metadata.distributions(name=name, path=places):
                return str(found.version)
        return None
