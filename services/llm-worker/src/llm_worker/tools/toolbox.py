"""The tools that a model gets, and the servers that run them."""

import asyncio
import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from llm_worker.tools.configuration import ToolServer
from llm_worker.tools.connection import ListedTool, ServerConnection

log = logging.getLogger(__name__)

_MAX_NAME: Final = 64
"""Characters of a tool's name that all providers accept."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool as a model knows it.

    Attributes:
        name: For the model; the server's own unless that is taken.
        tool: The server's name for it.
    """

    name: str
    tool: str
    server: ToolServer
    connection: ServerConnection
    definition: dict[str, Any]

    @property
    def needs_approval(self) -> bool:
        return self.server.needs_approval(self.tool)


@dataclass(frozen=True)
class Toolbox:
    """The tools of one answer, by the model's names for them."""

    tools: Mapping[str, Tool] = field(default_factory=dict)

    @property
    def servers(self) -> dict[str, str]:
        """The name of the server of each tool."""
        return {name: tool.server.name for name, tool in self.tools.items()}

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """As the chat completions API takes them."""
        return [tool.definition for tool in self.tools.values()]


class ToolServers:
    """The configured servers. ``async with`` closes the connections, which are opened when they are needed."""

    def __init__(self, servers: Sequence[ToolServer]) -> None:
        self._servers = [(server, ServerConnection(server)) for server in servers]

    async def __aenter__(self) -> "ToolServers":
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(connection.close() for _, connection in self._servers))

    async def load(self) -> None:
        """Connect to the servers, so that the first answer finds their tools."""
        await asyncio.gather(*(connection.list_tools() for _, connection in self._servers))

    async def toolbox(self, model: str, *, taken: Collection[str] = ()) -> Toolbox:
        """Return the tools for a model. A server that does not answer takes no part, or with what it last offered.

        Args:
            taken: Names of the client's own tools.
        """
        chosen = [(server, connection) for server, connection in self._servers if server.is_for(model)]
        listed = await asyncio.gather(*(connection.list_tools() for _, connection in chosen))
        tools: dict[str, Tool] = {}
        for (server, connection), offered in zip(chosen, listed, strict=True):
            for tool in offered:
                if not server.offers(tool.name):
                    continue
                name = _name(server, tool, {*taken, *tools})
                if name is None:
                    log.warning("The tool %s of %s has a name that is taken", tool.name, server.name)
                    continue
                tools[name] = Tool(
                    name=name, tool=tool.name, server=server, connection=connection, definition=_definition(name, tool)
                )
        return Toolbox(tools)


def client_tools(parameters: Mapping[str, Any]) -> set[str]:
    """Return the names of the tools that a request's parameters define."""
    tools: Iterable[Any] = parameters.get("tools") or ()
    functions = (tool.get("function") or tool.get("custom") for tool in tools if isinstance(tool, dict))
    return {str(function.get("name")) for function in functions if isinstance(function, dict)}


def _name(server: ToolServer, tool: ListedTool, taken: Collection[str]) -> str | None:
    for name in (tool.name, f"{server.name}_{tool.name}"):
        name = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:_MAX_NAME]
        if name not in taken:
            return name
    return None


def _definition(name: str, tool: ListedTool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": name, "description": tool.description, "parameters": tool.schema},
    }
