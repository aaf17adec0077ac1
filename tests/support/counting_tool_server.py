"""The server of :mod:`tests.support.counting_tools`: ``python -m … PORT FILE``."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

from llm_worker.tools.connection import IDEMPOTENCY_KEY
from tests.support.counting_tools import Counted

server = MCPServer("counting")


def note(tool: str, step: str, event: str, context: Context[Any, Any]) -> None:
    meta: Any = context.request_context.meta or {}
    line = msgspec.json.encode(Counted(tool=tool, step=step, key=meta.get(IDEMPOTENCY_KEY, ""), event=event))
    with Path(sys.argv[2]).open("ab") as file:
        file.write(line + b"\n")


@server.tool()
async def count(step: str, context: Context[Any, Any]) -> str:
    """Count a step."""
    note("count", step, "began", context)
    return f"counted {step}"


@server.tool()
async def wait(step: str, context: Context[Any, Any], seconds: float = 60) -> str:
    """Wait."""
    note("wait", step, "began", context)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("wait", step, "cancelled", context)
        raise
    note("wait", step, "ended", context)
    return f"waited {seconds}"


if __name__ == "__main__":
    server.run("streamable-http", port=int(sys.argv[1]))
