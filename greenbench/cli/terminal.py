"""What the commands print."""

from __future__ import annotations

import sys

from greenbench.wording import visible


def say(text: object, *, error: bool = False, end: str = "\n") -> None:
    """Print `text`, line by line visible: no name in somebody's record steers the terminal."""
    lines = "\n".join(visible(line) for line in str(text).split("\n"))
    print(lines, end=end, file=sys.stderr if error else sys.stdout, flush=error)
