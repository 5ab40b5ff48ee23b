"""The command ``mcp``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from greenbench.errors import UserError

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_mcp(commands: Commands) -> None:
    """The command ``mcp``."""
    mcp = commands.add_parser(
        "mcp",
        help="serve these commands to an agent, over standard input and output",
        description="A server of the Model Context Protocol, for an agent that asks what can be measured "
        "here, reads results and advises. It reads and writes no other results directories than those "
        "that are named here, and starts nothing unless --allow-runs.",
    )
    mcp.add_argument("results", nargs="*", type=Path, help="default: results")
    mcp.add_argument(
        "--allow-runs",
        action="store_true",
        help="let the agent start and stop runs; they go on when the server ends",
    )
    mcp.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="your own config groups, like conf/"
    )
    mcp.set_defaults(command=_mcp)


def _mcp(arguments: argparse.Namespace) -> int:
    try:
        from greenbench.agents.serve import serve
    except ModuleNotFoundError as error:
        if error.name != "mcp":
            raise
        raise UserError(
            "greenbench mcp needs the MCP SDK, which is not installed: pip install 'greenbench[mcp]'."
        ) from error
    serve(arguments.results or [Path("results")], arguments.allow_runs, arguments.config_dir)
    return 0
