"""What every command that runs something is told it by."""

from __future__ import annotations

import argparse
from pathlib import Path

from greenbench.cli.completion import overrides


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Hydra's overrides, and where the user's own groups are."""
    words = parser.add_argument("overrides", nargs="*", metavar="GROUP=OPTION | KEY=VALUE")
    words.completer = overrides  # type: ignore[attr-defined]  # where argcomplete looks for it
    parser.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="your own config groups, like conf/"
    )
