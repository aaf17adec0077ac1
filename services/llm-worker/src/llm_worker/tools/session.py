"""One connection to a tool server, by the official ``mcp`` SDK: streamable HTTP, or a program over stdio.

The SDK is imported only here and only when a connection is opened: it takes a second, and most installations have no
tool servers. A connection lives in a task of its own, because the SDK's cancel scopes must be left in the task that
entered them; calls come from the tasks of the answers.
"""

import asyncio
import contextlib
import importlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from llm_worker.errors import ToolServerError
from llm_worker.tools.configuration import ToolServer

if TYPE_CHECKING:
    import mcp

    from llm_worker.tools.transports import IsolatingClient

log = logging.getLogger(__name__)

CONNECT_TIMEOUT: Final = 30.0
"""Seconds, for a program that is started and imports much."""

CLOSE_TIMEOUT: Final = 10.0
"""Seconds, above those that the SDK gives a program before it kills it."""


class Session:
    """One connection, which opens at once. It is closed when it is retired and its last user has left.

    Args:
        on_end: Called when it has ended, for whatever reason.

    Attributes:
        responded_at: When the server last answered.
        suspect: A call on it was cancelled or not answered in time, and nothing has been answered since.
        retired: Nobody new may use it.
        calls: How many calls run on it; while there are any, the server may be busy.
    """

    def __init__(self, server: ToolServer, *, on_end: Callable[["Session"], None] | None = None) -> None:
        self._server = server
        self._client: asyncio.Future[mcp.Client] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._opening: asyncio.Timeout | None = None
        self._http: IsolatingClient | None = None
        self.responded_at = time.monotonic()
        self.suspect = False
        self.retired = False
        self.calls = 0
        self._users = 0
        self._owner = asyncio.create_task(self._own(), name=f"tools {server.name}")
        if on_end is not None:
            self._owner.add_done_callback(lambda _: on_end(self))

    def note_response(self) -> None:
        """The server has answered."""
        self.responded_at = time.monotonic()
        self.suspect = False

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator["mcp.Client"]:
        """Yield the open connection. Users share one that is being opened; who is cancelled leaves it to the others.

        Raises:
            ToolServerError: it cannot be opened.
        """
        self._users += 1
        try:
            await asyncio.wait({self._client})
            yield self._client.result()
        finally:
            self._users -= 1
            if self.retired:
                self.retire()

    def retire(self) -> None:
        """Close it once nobody uses it. Repeated: no effect."""
        self.retired = True
        if not self._users:
            self._close()

    def _close(self) -> None:
        self._closing.set()
        if self._opening is not None and not self._opening.expired():
            # It is cancelled once at most: the SDK ends the program under a shield, which a second cancellation breaks.
            self._opening.reschedule(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Close it now, whoever uses it."""
        self.retired = True
        self._close()
        done, _ = await asyncio.wait({self._owner}, timeout=CLOSE_TIMEOUT)
        if not done:
            self._owner.cancel()
            await asyncio.wait({self._owner}, timeout=CLOSE_TIMEOUT)

    async def _own(self) -> None:
        """Hold the connection until it is closed."""
        try:
            mcp = await asyncio.to_thread(importlib.import_module, "mcp")
            for name in ("mcp", "client"):  # what these loggers of the SDK say quotes URLs and arguments
                logging.getLogger(name).setLevel(logging.CRITICAL)
            async with contextlib.AsyncExitStack() as stack:
                client = mcp.Client(
                    await self._transport(stack),
                    client_info=mcp.types.Implementation(name="parley", version="1"),
                    cache=None,
                )
                if not self._closing.is_set():
                    await self._open(client, stack)
                    await self._closing.wait()
        except Exception as error:
            self._log_failure(error)
        finally:
            self.retired = True
            if not self._client.done():
                self._client.set_exception(ToolServerError(f"The tool server {self._server.name} cannot be reached."))
                self._client.exception()  # retrieved, or asyncio logs it when nobody waits any more

    async def _open(self, client: "mcp.Client", stack: contextlib.AsyncExitStack) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT) as self._opening:
            try:
                await stack.enter_async_context(client)
            finally:
                self._opening = None
        client.session.validate_tool_result = _accept  # type: ignore[method-assign]
        self.note_response()
        self._client.set_result(client)

    def _log_failure(self, error: Exception) -> None:
        from llm_worker.tools.transports import kind_of

        if self._closing.is_set():
            return
        # Its text may name the URL or the arguments, which may hold credentials.
        problem = self._http.problem if self._http is not None else None
        log.warning("The connection to the tool server %s failed: %s", self._server.name, problem or kind_of(error))

    async def _transport(self, stack: contextlib.AsyncExitStack) -> Any:
        from llm_worker.tools import transports

        server = self._server
        if server.url is None:
            from mcp import StdioServerParameters

            transports.register_encoding()
            program, *arguments = server.command
            return StdioServerParameters(
                command=program, args=arguments, env=dict(server.env), encoding=transports.ENCODING
            )
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        timeout = httpx2.Timeout(CONNECT_TIMEOUT, read=server.timeout + CONNECT_TIMEOUT)
        http = self._http = transports.IsolatingClient(headers=server.headers, timeout=timeout)
        await stack.enter_async_context(http)
        return streamable_http_client(server.url, http_client=http, max_sse_event_size=transports.MAX_MESSAGE_BYTES)


async def _accept(name: str, result: Any) -> None:
    """Accept any result of a tool: as text, a model can use one that is not as the tool's ``outputSchema`` says, too.

    The SDK would refuse it, and on a new connection it would ask for the list of tools before it returns a result.
    """
