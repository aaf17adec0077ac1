"""Forwards a chat's server-sent events from push, for callers that reach the gateway only.

Whole events are forwarded as they are, and the id of the last one is recorded. When push drains or crashes, the stream
continues at another push process after that id, and the reader notices nothing. The next bytes are read when the bytes
before them have been sent: a slow reader makes push pause, and at most one event is buffered here.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from gateway.errors import GatewayError, NotAuthenticated, NotFound, TooMany, Unavailable
from gateway.http.problems import request_id_of
from gateway.metrics import STREAM_FRAMES, STREAM_RECONNECTS, STREAMS
from parley.contracts import frames
from parley.contracts.access.identity import Principal
from parley.contracts.problems import Problem
from parley.runtime.backoff import Backoff
from parley.runtime.tokens import KeyRing

if TYPE_CHECKING:
    import aiohttp
    from starlette.requests import Request

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_RECONNECT_SECONDS = 30.0
"""How long the stream tries to reconnect to push before it ends; the reader then connects again by itself."""

_TOKEN_SECONDS = 60.0
"""How long push may take to be asked; the stream then lasts as long as the session or the API key."""

_FINAL: Final = frozenset({401, 404})
"""Refusals that another push process would repeat."""

_MAX_CURSOR = 1024
"""Characters of an event id that push is sent; a longer one is none of ours."""

GOODBYE = b": connect again\n\n"
"""The last event of a stream that ends although there is more."""
_UNAVAILABLE = "Live updates are not available at the moment. Try again soon."


@dataclass(frozen=True, kw_only=True)
class StreamRequest:
    """A chat's stream, and for whom it is opened.

    Attributes:
        principal: The reader; the stream ends when the session, the API key or the token does.
        headers: Of the reader's request, that push needs.
        for_answer: It is read here for a program, and counts as no connection of the user's.
    """

    chat_id: str
    principal: Principal
    headers: dict[str, str] = field(default_factory=dict)
    for_answer: bool = False

    @classmethod
    def of(cls, request: "Request", principal: Principal, chat_id: str) -> "StreamRequest":
        """Return the stream of a chat for whoever makes the request."""
        headers = {"X-Request-Id": request_id_of(request) or ""}
        if request.client is not None and request.client.host:
            headers["X-Forwarded-For"] = request.client.host
        return cls(chat_id=chat_id, principal=principal, headers=headers)


class PushRefused(Exception):
    """Push answered with a problem instead of a stream."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"push answered {problem.status} {problem.code}: {problem.detail}")
        self.problem = problem


class PushUnavailable(Exception):
    """Push cannot be reached, drains, or lost the connection."""


class EventStreams:
    """Opens streams at push, and ends them all when the process stops.

    Args:
        push_url: The address of push's websocket; its streams are on the same host, below the same path.
    """

    def __init__(self, push_url: str, keys: KeyRing) -> None:
        parts = urlsplit(push_url)
        scheme = "https" if parts.scheme == "wss" else "http"
        self._base_url = f"{scheme}://{parts.netloc}{parts.path.removesuffix('/ws').rstrip('/')}"
        self._keys = keys
        self._http: aiohttp.ClientSession | None = None
        self._open: set[EventStream] = set()
        self.closing = False

    async def open(self, request: StreamRequest, after: str | None) -> "EventStream":
        """Return a stream that push has accepted.

        Args:
            after: The id of the last event that the reader has.

        Raises:
            NotAuthenticated: the reader's session has ended.
            NotFound: the user may not read the chat.
            TooMany: the user, or the user's address, has too many connections.
            Unavailable: push does not answer, or this process is stopping.
        """
        if self.closing:
            raise Unavailable("This server is going away. Connect again.", retry_after=1)
        after = after if after and len(after) <= _MAX_CURSOR else None
        try:
            response = await self.request(request, after)
        except PushUnavailable as error:
            log.warning("Push cannot be reached: %s", error)
            raise Unavailable(_UNAVAILABLE) from error
        except PushRefused as error:
            raise _as_gateway_error(error) from error
        stream = EventStream(self, request, after, response)
        self._open.add(stream)
        STREAMS.inc()
        return stream

    async def request(self, request: StreamRequest, after: str | None) -> "aiohttp.ClientResponse":
        """Ask push for a stream, as the user, and return its response before the first event.

        Raises:
            PushUnavailable: nobody answers in time.
            PushRefused: the response is a problem.
        """
        # Imported at the first stream: most gateways seldom open one.
        import aiohttp

        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        reader = request.principal
        token, _ = self._keys.issue(
            "access",
            reader.user.id,
            _TOKEN_SECONDS,
            session_id=reader.session_id,
            key_id=reader.key_id,
            ends_at=reader.expires_at,
            for_answer=request.for_answer,
        )
        url = f"{self._base_url}/v1/chats/{request.chat_id}/stream"
        # Not as a header: what a reader sends need not be one.
        params = {"after": after} if after else None
        headers = {**request.headers, "Authorization": f"Bearer {token}"}
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                response = await self._http.get(url, params=params, headers=headers, allow_redirects=False)
                if response.status == 200:
                    return response
                body = await response.read()
        except (OSError, aiohttp.ClientError) as error:
            raise PushUnavailable(repr(error)) from error
        try:
            raise PushRefused(msgspec.json.decode(body, type=Problem))
        except msgspec.DecodeError as error:
            raise PushUnavailable(f"{url} answered {response.status}") from error

    def close(self) -> None:
        """End all streams with the comment that asks their readers to connect again."""
        self.closing = True
        for stream in self._open:
            stream.stop()

    async def disconnect(self) -> None:
        """Close what is left of the connections, when all streams have ended."""
        if self._http is not None:
            await self._http.close()

    def remove(self, stream: "EventStream") -> None:
        if stream in self._open:
            self._open.remove(stream)
            STREAMS.dec()


class EventStream:
    """One reader's stream."""

    def __init__(
        self, owner: EventStreams, request: StreamRequest, after: str | None, response: "aiohttp.ClientResponse"
    ) -> None:
        self._owner = owner
        self._request = request
        self._after = after
        self._response = response
        self._stopping = asyncio.Event()
        self._reading: asyncio.Timeout | None = None

    async def events(self) -> AsyncIterator[bytes]:
        """Yield whole events until the chat is gone, the session has ended or the process stops."""
        while True:
            try:
                async for events in self._forward():
                    yield events
                return  # complete: the chat is gone, or the session has ended
            except PushUnavailable as error:
                if not self._stopping.is_set():
                    log.info("A stream lost push: %s", error, extra={"chat_id": self._request.chat_id})
            try:
                if not await self._reconnect():
                    break
            except PushRefused as refused:
                yield _error_event(refused.problem, self._request.chat_id)
                return
        yield GOODBYE

    def stop(self) -> None:
        """Make :meth:`events` end at its next step."""
        self._stopping.set()
        if self._reading is not None:
            self._reading.reschedule(0)

    async def close(self) -> None:
        """Release the connection to push. Called whatever happened."""
        self._owner.remove(self)
        self._response.close()

    async def _forward(self) -> AsyncIterator[bytes]:
        """Yield what push sends, until the response is complete.

        Raises:
            PushUnavailable: it is not: push drains, the connection broke, or this process stops.
        """
        unsent = bytearray()
        while chunk := await self._next_chunk():
            unsent += chunk
            end = unsent.rfind(b"\n\n") + 2
            if end < 2:
                continue
            events = bytes(unsent[:end])
            del unsent[:end]
            last = events.endswith(GOODBYE)
            self._note(events)
            if events := events.removesuffix(GOODBYE):
                yield events
            if last:
                raise PushUnavailable("it drains")

    async def _next_chunk(self) -> bytes:
        """Return the next bytes; none at the end of a complete response."""
        import aiohttp

        if self._stopping.is_set():
            raise PushUnavailable("this process stops")
        try:
            async with asyncio.timeout(None) as self._reading:
                return await self._response.content.readany()
        except (OSError, aiohttp.ClientError) as error:
            raise PushUnavailable(repr(error)) from error
        finally:
            self._reading = None

    def _note(self, events: bytes) -> None:
        """Note the id of the last event, and count the events."""
        lines = b"\n" + events
        STREAM_FRAMES.inc(lines.count(b"\ndata: "))
        found = lines.rfind(b"\nid: ")
        if found >= 0:
            self._after = lines[found + 5 : lines.index(b"\n", found + 5)].decode()

    async def _reconnect(self) -> bool:
        """Continue at another push process. False: none replied in time, or this process stops.

        Raises:
            PushRefused: the user may not read the chat any more, or the session has ended.
        """
        self._response.close()
        # With jitter: a push that drains sends many streams away at once.
        backoff = Backoff(0.1, 3.0)
        ends = time.time() + _RECONNECT_SECONDS
        while time.time() < ends and not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.next_delay()):
                    await self._stopping.wait()
                return False
            try:
                self._response = await self._owner.request(self._request, self._after)
            except (PushUnavailable, PushRefused) as error:
                if isinstance(error, PushRefused) and error.problem.status in _FINAL:
                    raise
                log.debug("Push again: %s", error)
            else:
                STREAM_RECONNECTS.inc()
                return True
        return False


def _as_gateway_error(refused: PushRefused) -> GatewayError:
    problem = refused.problem
    match problem.status:
        case 404:
            return NotFound(problem.detail)
        case 429:
            return TooMany(problem.detail, retry_after=10)
        case 401 if problem.code == "session_ended":
            return NotAuthenticated(problem.detail, code="session_ended")
        case 401:
            log.error("Push refuses the gateway (%s): have both the same SECRET_KEY or SECRET_KEYS?", refused)
            return Unavailable("Live updates are not available at the moment.", retry_after=30)
        case _:
            log.warning("A stream was refused: %s", refused)
            return Unavailable(_UNAVAILABLE)


def _error_event(problem: Problem, chat_id: str) -> bytes:
    frame = frames.Error(code=problem.code, message=problem.detail, chat_id=chat_id)
    return b"data: %b\n\n" % msgspec.json.encode(frame)
