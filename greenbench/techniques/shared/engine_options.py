"""What options have in common that one engine alone has."""

from __future__ import annotations

from greenbench.errors import Unsupported


def require_engine(technique: str, engine: str, only: str, instead: str | None = None) -> None:
    """Raise Unsupported, in one sentence, unless `engine` is the one that has it.

    `instead` is the technique that does the same in this process.
    """
    if engine == only:
        return
    other = f" or technique={instead}" if instead and engine == "transformers" else ""
    raise Unsupported(
        f"technique={technique} is an option of {only}, and not of engine={engine}: use "
        f"engine={only}{other}."
    )
