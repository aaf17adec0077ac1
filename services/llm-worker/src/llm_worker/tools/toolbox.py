"""The tools that a model gets, and the servers that run them."""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llm_worker.tools.configuration import ToolServer
from llm_worker.tools.connection import ListedTool, ServerConnection

log = logging.getLogger(__name__)

UNKNOWN: Final = "unknown"
"""In place of the server of a call whose tool nobody has: it fails like one of Parley's, and the model goes on."""

MAX_NAME: Final = 64
"""The length of a tool's name that all providers accept."""

_REFUSED_SECONDS: Final = 600.0
"""How long a model that refused tools is offered none."""

_MAX_TOOLS: Final = 128
"""Of one request, with the client's own; OpenAI's API refuses one with more."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool that is offered to a model.

    Attributes:
        name: The model's name for it: the server's own unless that is taken.
        tool: The server's name for it.
    """

    name: str
    tool: str
    server: ToolServer
    connection: ServerConnection
    definition: dict[str, Any]


@dataclass(frozen=True)
class Toolbox:
    """The tools of one answer, by the model's names for them.

    Attributes:
        client: The names of the client's own tools.
    """

    tools: Mapping[str, Tool]
    client: Collection[str]

    def server_of(self, name: str) -> str | None:
        """Return the name of the server of a tool; None for one that is left to the client.

        Where Parley has no tools, so is a call of one that nobody has: a request without tools must have no calls in
        its messages.
        """
        if name in self.tools:
            return self.tools[name].server.name
        return UNKNOWN if self.tools and name not in self.client else None

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """The definitions, in the form of the chat completions API."""
        return [tool.definition for tool in self.tools.values()]


class ToolServers:
    """The configured servers. Connections are opened on first use; ``async with`` closes them."""

    def __init__(self, servers: Sequence[ToolServer]) -> None:
        self._servers = [(server, ServerConnection(server)) for server in servers]
        self._left_out: set[str] = set()
        self._refused: dict[str, float] = {}

    async def __aenter__(self) -> "ToolServers":
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(connection.close() for _, connection in self._servers))

    async def load(self) -> None:
        """Connect to the servers, so that the first answer does not wait for them."""
        await asyncio.gather(*(connection.list_tools() for _, connection in self._servers))

    def refuse(self, model: str) -> None:
        """Offer no tools to a model that does not accept them, until it may have changed."""
        now = time.monotonic()
        self._refused = {name: until for name, until in self._refused.items() if until > now}
        self._refused[model] = now + _REFUSED_SECONDS

    async def toolbox(self, model: str, *, taken: Collection[str] = ()) -> Toolbox:
        """Return the tools for a model. Of a server that does not respond, the last known ones are offered.

        Args:
            taken: Names of the client's own tools.
        """
        if self._refused.get(model, 0.0) > time.monotonic():
            return Toolbox({}, taken)
        chosen = [(server, connection) for server, connection in self._servers if server.is_for(model)]
        listed = await asyncio.gather(*(connection.list_tools() for _, connection in chosen))
        tools: dict[str, Tool] = {}
        left_out: list[str] = []
        for (server, connection), offered in zip(chosen, listed, strict=True):
            for tool in {tool.name: tool for tool in offered if tool.name and server.offers(tool.name)}.values():
                name = _name(server, tool, {*taken, *tools})
                if name is None or len(tools) + len(taken) >= _MAX_TOOLS:
                    left_out.append(f"{server.name}: {tool.name}")
                    continue
                tools[name] = Tool(
                    name=name, tool=tool.name, server=server, connection=connection, definition=_definition(name, tool)
                )
        self._report(left_out)
        return Toolbox(tools, taken)

    def _report(self, left_out: list[str]) -> None:
        if new := [tool for tool in left_out if tool not in self._left_out]:
            self._left_out.update(new)
            log.warning(
                "%d tools are left out: their names are taken, or they are more than %d in all: %s",
                len(new),
                _MAX_TOOLS,
                ", ".join(new[:10]),
            )


def client_tools(parameters: Mapping[str, Any]) -> set[str]:
    """Return the names of the tools that a request's parameters define."""
    tools: Iterable[Any] = parameters.get("tools") or ()
    functions = (tool.get("function") or tool.get("custom") for tool in tools if isinstance(tool, dict))
    return {str(function.get("name")) for function in functions if isinstance(function, dict)}


def _name(server: ToolServer, tool: ListedTool, taken: Collection[str]) -> str | None:
    digest = hashlib.sha256(tool.name.encode(errors="replace")).hexdigest()[:8]
    for name in (tool.name, f"{server.name}_{tool.name}"):
        name = re.sub(r"[^a-zA-Z0-9_-]", "_", name)
        if len(name) > MAX_NAME:
            # What is cut off may be the only difference between two tools.
            name = f"{name[: MAX_NAME - len(digest) - 1]}_{digest}"
        if name not in taken:
            return name
    return None


def _definition(name: str, tool: ListedTool) -> dict[str, Any]:
    function = {"name": name, "description": tool.description, "parameters": tool.schema}
    return {"type": "function", "function": function}
