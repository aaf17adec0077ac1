"""A response of server-sent events that are made here, until the client disconnects."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.errors import GatewayError
from gateway.http.requests import disconnected
from parley.runtime import tasks

_SILENCE_SECONDS: Final = 15.0
"""After a silence of this length a comment is sent, so that no proxy closes the connection as idle."""

_COMMENT: Final = b": still here\n\n"


class EventResponse(Response):
    """Server-sent events until ``events`` ends or the client disconnects.

    The next event is made when the one before has been taken: nothing is queued.

    Args:
        events: Encoded events; closed in the end.
        error_event: Encodes an error of ``events`` as the last event.
        abandoned: Called when the client disconnects before the end.
        preface: Called when the response starts; returns what is sent before the first event.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        *,
        error_event: Callable[[GatewayError], bytes],
        abandoned: Callable[[], Awaitable[None]] | None = None,
        preface: Callable[[], bytes] = bytes,
        headers: dict[str, str] | None = None,
    ) -> None:
        # Proxies such as nginx would delay events to fill a buffer, others to compress them.
        unbuffered = {"X-Accel-Buffering": "no", "Cache-Control": "no-store, no-transform"}
        super().__init__(headers=unbuffered | (headers or {}))
        del self.headers["content-length"]
        self._events = events
        self._first: asyncio.Task[bytes | None] | None = None
        self._error_event = error_event
        self._abandoned = abandoned
        self._preface = preface
        self._sent_at = 0.0

    async def wait_for_first(self, request: Request, seconds: float = 10.0) -> None:
        """Wait for the first event, at most ``seconds``: an error until then is the response's status.

        Raises:
            GatewayError: as ``events`` raised it.
            ClientDisconnect: the client did not wait.
        """
        self._first = asyncio.create_task(_next(self._events))
        disconnecting = asyncio.create_task(disconnected(request.receive))
        try:
            await asyncio.wait((self._first, disconnecting), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if self._first.done():
                self._first.result()
            elif disconnecting.done():
                raise ClientDisconnect
        except BaseException:
            await self._close(abandoned=disconnecting.done() and not self._first.done())
            raise
        finally:
            await tasks.end(disconnecting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing = asyncio.create_task(self._write(send))
        disconnecting = asyncio.create_task(disconnected(receive))
        commenting = asyncio.create_task(self._comment_on_silence(send, writing))
        try:
            await asyncio.wait((writing, disconnecting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            abandoned = disconnecting.done() and not writing.done()
            await tasks.end(commenting, disconnecting, writing)
            await self._close(abandoned=abandoned)
        if not abandoned:
            writing.result()

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if preface := self._preface():
            await self._send(send, preface)
        try:
            event = await (self._first or _next(self._events))
            while event is not None:
                if event:
                    await self._send(send, event)
                event = await anext(self._events, None)
        except GatewayError as error:
            await self._send(send, self._error_event(error))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, event: bytes) -> None:
        self._sent_at = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": event, "more_body": True})

    async def _comment_on_silence(self, send: Send, writing: "asyncio.Task[None]") -> None:
        loop = asyncio.get_running_loop()
        self._sent_at = loop.time()
        while True:
            await asyncio.sleep(self._sent_at + _SILENCE_SECONDS - loop.time())
            if loop.time() - self._sent_at >= _SILENCE_SECONDS and not writing.done():
                await self._send(send, _COMMENT)

    async def _close(self, *, abandoned: bool) -> None:
        if self._first is not None:
            await tasks.end(self._first)
        await self._events.aclose()
        if abandoned and self._abandoned is not None:
            await self._abandoned()


async def _next(events: AsyncGenerator[bytes, None]) -> bytes | None:
    """Return the next event that is not empty; None at the end."""
    while (event := await anext(events, None)) == b"":
        pass
    return event
