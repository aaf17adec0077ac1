"""One tool server: its tools, and calls of them, over a connection that is opened again after it broke off."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from llm_worker.errors import ToolServerError
from llm_worker.tools.configuration import ToolServer
from llm_worker.tools.schemas import accepted
from llm_worker.tools.session import CONNECT_TIMEOUT, Session
from parley.contracts.text import storable
from parley.runtime import tasks

if TYPE_CHECKING:
    import mcp

log = logging.getLogger(__name__)

IDEMPOTENCY_KEY: Final = "parley/idempotency-key"
"""In the ``_meta`` of a call: the same for a call that is run again, because its result was not stored."""

_LIST_TIMEOUT: Final = 5.0
"""Seconds that an answer waits for a server's tools, unless the worker has just started."""

_MAX_LIST_AGE: Final = 30.0
_MAX_IDLE: Final = 5.0
"""Seconds without a response after which a connection is checked before a call."""

_RETRY_AFTER: Final = 10.0
"""Seconds after which a server that failed is asked for its tools again."""

_MAX_PAGES: Final = 20


class ListedTool(NamedTuple):
    """A tool that a server offers, with the JSON schema of its arguments, as providers accept it."""

    name: str
    description: str
    schema: dict[str, Any]


class ToolResult(NamedTuple):
    """What a call returned, cut to the server's limit."""

    text: str
    failed: bool


class ServerConnection:
    """The connection to one server: opened when it is needed, and again after it broke off.

    Calls that run when a connection is given up keep it until they have ended: what is wrong for one (its response was
    cut off, the server is busy) need not be for them.

    Attributes:
        has_failed: The server did not list its tools when it was asked last.
    """

    def __init__(self, server: ToolServer) -> None:
        self._server = server
        self._session: Session | None = None
        self._sessions: set[Session] = set()
        self._tools: list[ListedTool] = []
        self._listing: asyncio.Task[None] | None = None
        self._is_known = False
        self.has_failed = False
        self._listed_at = -_MAX_LIST_AGE
        self._failed_at = -_RETRY_AFTER

    async def list_tools(self) -> list[ListedTool]:
        """Return the server's tools; the last known ones while it does not respond.

        The first time it waits until the server has answered or failed: an answer that is taken over by a worker that
        has just started needs the tools that it had. Of a server that has failed, only one waits for the next list.
        """
        now = time.monotonic()
        begins = self._listing is None
        if begins and now - self._listed_at >= _MAX_LIST_AGE and now - self._failed_at >= _RETRY_AFTER:
            self._listing = asyncio.create_task(self._list(), name=f"list of tools {self._server.name}")
        if self._listing is not None and (begins or not self.has_failed):
            await asyncio.wait({self._listing}, timeout=_LIST_TIMEOUT if self._is_known else CONNECT_TIMEOUT)
        return self._tools

    async def _list(self) -> None:
        try:
            await self._fetch_tools(CONNECT_TIMEOUT)
            self.has_failed = False
        except ToolServerError as error:
            self.has_failed = True
            self._failed_at = time.monotonic()
            log.warning("The tool server %s does not list its tools: %s", self._server.name, error)
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
        except _SessionExpired as error:
            raise ToolServerError(f"The tool server {self._server.name} does not keep its sessions.") from error
        except TimeoutError:
            raise ToolServerError(
                f"The tool server {self._server.name} did not answer within {timeout:g} seconds."
            ) from None

    async def close(self) -> None:
        if self._listing is not None:
            await tasks.end(self._listing)
        await asyncio.gather(*(session.close() for session in list(self._sessions)))

    # --- the connection ----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _use(self) -> AsyncIterator[tuple[Session, "mcp.Client"]]:
        """Yield the connection.

        Raises:
            ToolServerError: it cannot be opened.
        """
        session = self._session
        if session is None or session.retired:
            session = self._session = self._new_session()
            self._sessions.add(session)
        async with session.use() as client:
            yield session, client

    def _new_session(self) -> Session:
        return Session(self._server, on_end=self._sessions.discard)

    async def _check(self) -> None:
        """Give up a connection on which the server does not answer any more: it may have been restarted."""
        session = self._session
        if session is None or session.retired:
            return
        is_idle = not session.calls and time.monotonic() - session.responded_at >= _MAX_IDLE
        if is_idle or session.suspect:
            with contextlib.suppress(ToolServerError):
                await self._fetch_tools(_LIST_TIMEOUT)

    async def _fetch_tools(self, timeout: float) -> None:
        """Raises ToolServerError; the connection is then given up, unless the server may be busy with a call."""
        found: list[ListedTool] = []
        cursor: str | None = None
        async with self._use() as (session, client):
            try:
                async with asyncio.timeout(timeout):
                    for _ in range(_MAX_PAGES):
                        page = await client.list_tools(cursor=cursor)
                        found += [
                            ListedTool(tool.name, tool.description or "", accepted(tool.input_schema))
                            for tool in page.tools
                        ]
                        cursor = page.next_cursor
                        if cursor is None:
                            break
            except TimeoutError:
                if session.suspect or not session.calls:
                    session.retire()
                raise ToolServerError("no answer in time") from None
            except Exception as error:
                session.retire()
                raise ToolServerError(f"its list is unreadable: {type(error).__name__}") from error
            session.note_response()
        self._tools = found
        self._listed_at = time.monotonic()

    # --- one call ----------------------------------------------------------------------------------------------------

    async def _call(self, tool: str, arguments: dict[str, Any], key: str) -> ToolResult:
        meta: Any = {IDEMPOTENCY_KEY: key}
        async with self._use() as (session, client):
            session.calls += 1
            try:
                result = await client.call_tool(tool, arguments, self._server.timeout, meta=meta)
            except asyncio.CancelledError:
                session.suspect = True
                raise
            except Exception as error:
                return self._failure(error, session)
            finally:
                session.calls -= 1
            session.note_response()
        return ToolResult(self._cut(text_of(result)), failed=bool(result.is_error))

    def _failure(self, error: Exception, session: Session) -> ToolResult:
        """The result of a call that raised: what the server said.

        Raises:
            ToolServerError: it said nothing.
            _SessionExpired
        """
        from mcp import MCPError
        from mcp.types import CONNECTION_CLOSED, INVALID_REQUEST, PARSE_ERROR

        name = self._server.name
        if not isinstance(error, MCPError):
            # An answer that is none.
            log.warning("A result of the tool server %s is unreadable: %s", name, type(error).__name__)
            raise ToolServerError(f"The tool server {name} sent an unreadable result.") from error
        if error.code == INVALID_REQUEST and "Session terminated" in error.message:
            session.retire()
            raise _SessionExpired from error
        if error.code == CONNECTION_CLOSED:
            session.retire()
            raise ToolServerError(f"The connection to the tool server {name} broke off.") from error
        session.note_response()
        if error.code in (INVALID_REQUEST, PARSE_ERROR):
            # The SDK's own: a redirect, which may quote a URL with credentials, or a body that is no message.
            raise ToolServerError(f"The tool server {name} did not answer the call.") from error
        return ToolResult(self._cut(error.message), failed=True)

    def _cut(self, text: str) -> str:
        data = storable(text).encode(errors="replace")
        limit = self._server.max_result_bytes
        if len(data) <= limit:
            return data.decode()
        return f"{data[:limit].decode(errors='ignore')}\n[The first {limit} of {len(data)} bytes.]"


class _SessionExpired(Exception):
    """The server has discarded the session."""


def text_of(result: Any) -> str:
    """Return a result of the SDK as text: its texts, or JSON if there is only structured content."""
    text = "\n".join(map(_text_of_block, result.content))
    if not text.strip() and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return text


def _text_of_block(block: Any) -> str:
    """The text of a block, or of the resource in it; of anything else, what it is and where."""
    described = getattr(block, "resource", block)
    text = getattr(described, "text", None)
    if isinstance(text, str):
        return text
    about = [str(value) for name in ("mime_type", "uri") if (value := getattr(described, name, None))]
    return f"[{': '.join([block.type, ', '.join(about)])}]" if about else f"[{block.type}]"
