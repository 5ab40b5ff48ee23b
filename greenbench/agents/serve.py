"""The server: which tools there are, and a mistake as one sentence that is marked as an error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from inspect import getdoc
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import ValidationError

from greenbench import __version__
from greenbench.agents.background import Started
from greenbench.agents.places import Places
from greenbench.agents.tools import Tools
from greenbench.campaign.launch.local import Workers
from greenbench.errors import UserError

INSTRUCTIONS = """\
GreenBench measures what efficiency techniques save on language models. A run's ratios are to the same \
model without the technique, measured beside it: below 1 takes less, and of tokens_per_s above 1 is faster. \
A number comes with its 95 % interval (low, high), n and provenance; null has a reason. Claim no more than \
`verdicts` and `answer` do. While a run goes on, leave the machine alone: all else disturbs it."""


class Server(MCPServer[Any]):
    """Answers a user's mistake, a wrong argument among them, with its sentence alone."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        """As the SDK does, which tells nothing of an exception that it does not know."""
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            text = _sentence(error.__cause__)
            if text is None:
                raise
            return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def _sentence(error: BaseException | None) -> str | None:
    """Null for what is no mistake of a user's."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))} is not allowed: {first['msg']}."
    return str(error) if isinstance(error, UserError) else None


def serve(results: Sequence[Path], allow_runs: bool, config_dir: Path | None) -> None:
    """Answer over standard input and output until it ends. Raises UserError for a wrong directory."""
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(
            f"--config-dir {config_dir} is not a directory: give one that holds config groups."
        )
    places = Places(results)
    for name, folder in places:
        if not folder.exists():
            print(
                f"greenbench: {name} is not there yet: nothing is read from it until something is measured "
                "into it.",
                file=sys.stderr,
            )
    with Workers(()) as workers:
        tools = Tools(places, workers, config_dir)
        try:
            _server(tools, allow_runs).run("stdio")
        finally:
            _tell(tools.background.going())


def _tell(those: Iterable[Started]) -> None:
    """What goes on though its server ends: nobody should find it by chance."""
    for going in those:
        print(
            f"greenbench: run {going.told.id} goes on without this server, as process {going.told.pid}: "
            f"`greenbench mcp {going.results} --allow-runs` sees it and can stop it.",
            file=sys.stderr,
        )


def _server(tools: Tools, allow_runs: bool) -> Server:
    server = Server("greenbench", instructions=INSTRUCTIONS, version=__version__)
    reading: list[Callable[..., Any]] = [
        tools.doctor, tools.techniques, tools.estimate, tools.results, tools.advise, tools.devices,
        tools.compare, tools.status,
    ]  # fmt: skip
    running: list[Callable[..., Any]] = [tools.start, tools.stop] if allow_runs else []
    for tool in (*reading, *running):
        hints = ToolAnnotations(read_only_hint=tool in reading)
        server.add_tool(tool, description=getdoc(tool), annotations=hints)
    return server
