"""The connection to one tool server, by the official ``mcp`` SDK: streamable HTTP, or a program over stdio.

The SDK is imported only here and only when a connection is opened: it takes a second, and most installations have no
tool servers. A connection lives in a task of its own, because the SDK's cancel scopes must be left in the task that
entered them; calls come from the tasks of the answers.
"""

import asyncio
import contextlib
import importlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llm_worker.errors import WorkerError
from llm_worker.tools.configuration import ToolServer
from parley.contracts.text import storable
from parley.runtime import tasks

if TYPE_CHECKING:
    import mcp

log = logging.getLogger(__name__)

IDEMPOTENCY_KEY: Final = "parley/idempotency-key"
"""In the ``_meta`` of a call: the same for a call that is run again, because its result was not stored."""

_CONNECT_TIMEOUT: Final = 30.0
"""Seconds, for a program that is started and imports much."""

_LIST_TIMEOUT: Final = 5.0
"""Seconds that an answer waits for a server's tools, unless the worker has just started."""

_MAX_LIST_AGE: Final = 30.0
_MAX_IDLE: Final = 5.0
"""Seconds without a response after which a connection is checked before a call."""

_RETRY_AFTER: Final = 10.0
"""Seconds after which a server that failed is asked for its tools again."""

_CLOSE_TIMEOUT: Final = 10.0
_MAX_PAGES: Final = 20


class ToolServerError(WorkerError):
    """A tool server does not answer; the message is for the model and for people."""


class ListedTool(NamedTuple):
    """A tool that a server offers, with the JSON schema of its arguments."""

    name: str
    description: str
    schema: dict[str, Any]


class ToolResult(NamedTuple):
    """What a call returned, cut to the server's limit."""

    text: str
    failed: bool


class ServerConnection:
    """The connection to one server: opened when it is needed, and again after it broke off."""

    def __init__(self, server: ToolServer) -> None:
        self._server = server
        self._opened: asyncio.Future[mcp.Client] | None = None
        self._owner: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._tools: list[ListedTool] = []
        self._listing: asyncio.Task[None] | None = None
        self._is_known = False
        self._listed_at = -_MAX_LIST_AGE
        self._failed_at = -_RETRY_AFTER
        self._responded_at = 0.0

    async def list_tools(self) -> list[ListedTool]:
        """Return the server's tools; the last known ones while it does not answer.

        The first time it waits until the server has answered or failed: an answer that is taken over by a worker that
        has just started needs the tools that it had.
        """
        now = time.monotonic()
        if self._listing is None and now - self._listed_at >= _MAX_LIST_AGE and now - self._failed_at >= _RETRY_AFTER:
            self._listing = asyncio.create_task(self._list(), name=f"list of tools {self._server.name}")
        if self._listing is not None:
            await asyncio.wait({self._listing}, timeout=_LIST_TIMEOUT if self._is_known else _CONNECT_TIMEOUT)
        return self._tools

    async def _list(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await self._fetch_tools()
        except (ToolServerError, TimeoutError) as error:
            self._failed_at = time.monotonic()
            await self._close(self._opened)
            log.warning(
                "The tool server %s does not list its tools: %s", self._server.name, str(error) or "no answer in time"
            )
        finally:
            self._is_known = True
            self._listing = None

    async def call(self, tool: str, arguments: dict[str, Any], *, key: str) -> ToolResult:
        """Run a tool once.

        Args:
            key: The idempotency key of the call.

        Raises:
            ToolServerError: there is no result; the tool may have run.
        """
        timeout = self._server.timeout
        try:
            async with asyncio.timeout(timeout):
                await self._check()
                try:
                    return await self._call(tool, arguments, key)
                except _SessionExpired:
                    # The server refused it before it ran.
                    return await self._call(tool, arguments, key)
        except TimeoutError:
            raise ToolServerError(
                f"The tool server {self._server.name} did not answer within {timeout:g} seconds."
            ) from None

    async def close(self) -> None:
        if self._listing is not None:
            await tasks.end(self._listing)
        await self._close(self._opened)

    # --- the connection ----------------------------------------------------------------------------------------------

    async def _open(self) -> "mcp.Client":
        """Return the open connection. Callers share one that is being opened; who is cancelled leaves it to the others.

        Raises:
            ToolServerError
        """
        if self._opened is None or self._opened.cancelled() or (self._opened.done() and self._opened.exception()):
            self._opened = asyncio.get_running_loop().create_future()
            self._closing = asyncio.Event()
            owner = self._own(self._opened, self._closing)
            self._owner = asyncio.create_task(owner, name=f"tools {self._server.name}")
        opened = self._opened
        done, _ = await asyncio.wait({opened}, timeout=_CONNECT_TIMEOUT)
        if done and opened.exception() is None:
            return opened.result()
        await self._close(opened)
        raise ToolServerError(f"The tool server {self._server.name} cannot be reached.")

    async def _own(self, opened: "asyncio.Future[mcp.Client]", closing: asyncio.Event) -> None:
        """Hold the connection until ``closing`` is set."""
        try:
            mcp = await asyncio.to_thread(importlib.import_module, "mcp")
            # What it logs quotes URLs and arguments.
            logging.getLogger("mcp").setLevel(logging.CRITICAL)
            async with contextlib.AsyncExitStack() as stack:
                transport = await self._transport(stack)
                info = mcp.types.Implementation(name="parley", version="1")
                client = mcp.Client(transport, client_info=info, cache=None)
                await stack.enter_async_context(client)
                self._responded_at = time.monotonic()
                if not opened.done():
                    opened.set_result(client)
                await closing.wait()
        except Exception as error:
            # Its text may name the URL or the arguments, which may hold credentials.
            log.warning("The connection to the tool server %s failed: %s", self._server.name, _kind_of(error))
        finally:
            if not opened.done():
                opened.set_exception(ToolServerError("closed"))
                opened.exception()  # retrieved, or asyncio logs it when nobody waits any more

    async def _transport(self, stack: contextlib.AsyncExitStack) -> Any:
        server = self._server
        if server.url is None:
            from mcp import StdioServerParameters

            program, *arguments = server.command
            return StdioServerParameters(command=program, args=arguments, env=dict(server.env))
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        timeout = httpx2.Timeout(_CONNECT_TIMEOUT, read=server.timeout + _CONNECT_TIMEOUT)
        http = await stack.enter_async_context(httpx2.AsyncClient(headers=server.headers, timeout=timeout))
        return streamable_http_client(server.url, http_client=http)

    async def _check(self) -> None:
        """Close a connection on which the server does not answer any more: it may have been restarted."""
        await self._open()
        if time.monotonic() - self._responded_at >= _MAX_IDLE:
            with contextlib.suppress(ToolServerError):
                await self._fetch_tools()

    async def _fetch_tools(self) -> None:
        """Raises ToolServerError; the connection is then closed."""
        client = await self._open()
        opened = self._opened
        found: list[ListedTool] = []
        cursor: str | None = None
        try:
            for _ in range(_MAX_PAGES):
                page = await client.list_tools(cursor=cursor)
                found += [ListedTool(tool.name, tool.description or "", tool.input_schema) for tool in page.tools]
                cursor = page.next_cursor
                if cursor is None:
                    break
        except Exception as error:
            await self._close(opened)
            raise ToolServerError(f"The tool server {self._server.name} cannot be reached.") from error
        self._tools = found
        self._listed_at = self._responded_at = time.monotonic()

    async def _close(self, opened: "asyncio.Future[mcp.Client] | None") -> None:
        """Close a connection, unless there is another one by now."""
        if opened is None or opened is not self._opened:
            return
        owner, self._owner, self._opened = self._owner, None, None
        self._closing.set()
        if owner is not None:
            await asyncio.wait({owner}, timeout=_CLOSE_TIMEOUT)
            await tasks.end(owner)

    # --- one call ----------------------------------------------------------------------------------------------------

    async def _call(self, tool: str, arguments: dict[str, Any], key: str) -> ToolResult:
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED, INVALID_REQUEST

        client = await self._open()
        opened = self._opened
        meta: Any = {IDEMPOTENCY_KEY: key}
        try:
            result = await client.call_tool(tool, arguments, self._server.timeout, meta=meta)
        except MCPError as error:
            if error.code == INVALID_REQUEST and "Session terminated" in error.message:
                await self._close(opened)
                raise _SessionExpired from error
            if error.code == CONNECTION_CLOSED:
                await self._close(opened)
                raise ToolServerError(f"The connection to the tool server {self._server.name} broke off.") from error
            self._responded_at = time.monotonic()
            return ToolResult(self._cut(error.message), failed=True)
        except Exception as error:
            # Output that does not fit the tool's schema, an answer that is none.
            log.warning("A result of the tool server %s is unreadable: %s", self._server.name, _kind_of(error))
            raise ToolServerError(f"The tool server {self._server.name} sent an unreadable result.") from error
        self._responded_at = time.monotonic()
        return ToolResult(self._cut(text_of(result)), failed=bool(result.is_error))

    def _cut(self, text: str) -> str:
        data = storable(text).encode(errors="replace")
        limit = self._server.max_result_bytes
        if len(data) <= limit:
            return data.decode()
        return f"{data[:limit].decode(errors='ignore')}\n[The first {limit} of {len(data)} bytes.]"


class _SessionExpired(Exception):
    """The server does not know the session any more."""


def _kind_of(error: BaseException) -> str:
    """The type of an error; of a group, that of the first one in it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__


def text_of(result: Any) -> str:
    """Return a result of the SDK as text: its texts; JSON where there is only structured content."""
    texts: list[str] = []
    for block in result.content:
        text = getattr(block, "text", None) or getattr(getattr(block, "resource", None), "text", None)
        if isinstance(text, str):
            texts.append(text)
        else:
            media = getattr(block, "mime_type", None)
            texts.append(f"[{block.type}{f': {media}' if media else ''}]")
    if not texts and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return "\n".join(texts)
