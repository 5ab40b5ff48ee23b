"""The results directories that a server was given: no other is read or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from greenbench.errors import UserError


class Places:
    """Directories under the names that the server's user gave them; the first is the usual one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises UserError for what is a file."""
        for path in paths:
            if path.exists() and not path.is_dir():
                raise UserError(
                    f"{path} is not a directory: give the results directory of a bench."
                )
        self._folders = {str(path): path for path in paths}

    def __iter__(self) -> Iterator[tuple[str, Path]]:
        return iter(self._folders.items())

    def named(self, results: str | None) -> tuple[str, Path]:
        """The one of that name, or the usual one. Raises UserError."""
        name = next(iter(self._folders)) if results is None else str(Path(results))
        if name not in self._folders:
            raise UserError(
                f"results={results} is not a directory of this server: it has {', '.join(self._folders)}."
            )
        return name, self._folders[name]
