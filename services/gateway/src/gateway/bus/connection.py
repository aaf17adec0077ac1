"""The gateway's connection to NATS: made in the background, so that the page is served before NATS replies."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from gateway.errors import Unavailable
from parley.contracts import subjects
from parley.contracts.streams import CHAT
from parley.runtime import tasks
from parley.runtime.nats import jetstream
from parley.runtime.nats.connect import connect
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley.runtime.nats.jetstream import Needs, StreamWrites
from parley.runtime.nats.requirements import require
from parley.runtime.readiness import Readiness

log = logging.getLogger(__name__)

_NEEDS = Needs(streams=(CHAT,), publishes=(subjects.prompt_submitted(jetstream.NOBODY),))


class BusClosed(Exception):
    """The connection is closed for good: the process must be restarted."""


class Bus:
    """Owns the connection, and reports whether it can be used now (docs/decisions/0036)."""

    def __init__(self, url: str, name: str, *, migration_wait: float = 0.0) -> None:
        self._url = url
        self._name = name
        self._migration_wait = migration_wait
        self._up = asyncio.Event()
        self._down_since = time.monotonic()
        self._closed = asyncio.Event()
        self._stopping = False
        self._client: Client | None = None
        self._js: JetStreamContext | None = None
        self._subscriptions: list[tuple[str, Callable[[Msg], Awaitable[None]], Callable[[], None]]] = []
        self.writes = StreamWrites()
        self._readiness = Readiness({"jetstream": self._jetstream_problem})

    @property
    def problems(self) -> dict[str, str]:
        """Why messages cannot be accepted now, by name of the dependency."""
        if not self.is_up:
            return {"nats": "NATS is not connected, or the stream CHAT could not be checked yet."}
        return self._readiness.problems

    async def _jetstream_problem(self) -> str | None:
        if self._client is None or not self._client.is_connected:
            return None
        return await jetstream.check(self._client, _NEEDS) or await self.writes.problem(self._client)

    def subscribe(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]], *, on_reconnected: Callable[[], None]
    ) -> None:
        """Have ``callback`` called with each message on ``subject``, from the first connection on.

        At most once: ``on_reconnected`` is called when messages may have been lost.
        """
        self._subscriptions.append((subject, callback, on_reconnected))

    async def run(self) -> None:
        """Connect, check that the stream is there, and stay connected until cancelled.

        Raises:
            NotProvisioned: the stream that prompts go to is missing.
            BusClosed: the server ended the connection for good.
        """
        self._client = client = await connect(
            self._url,
            name=self._name,
            on_closed=self._on_closed,
            on_disconnected=self._on_disconnected,
            on_reconnected=self._on_reconnected,
        )
        self._js = client.jetstream()
        for subject, callback, _ in self._subscriptions:
            await client.subscribe(subject, cb=callback)
        watching = asyncio.create_task(self._readiness.watch(), name="readiness")
        try:
            await require(self.js, streams=_NEEDS.streams, wait=self._migration_wait)
            self._up.set()
            await self._closed.wait()
            raise BusClosed("The connection to NATS was closed for good.")
        finally:
            self._stopping = True
            await tasks.end(watching)
            with contextlib.suppress(*TRANSIENT_ERRORS):
                async with asyncio.timeout(2):
                    await client.drain()

    @property
    def client(self) -> Client:
        """Raises :class:`Unavailable` before the first connection."""
        if self._client is None:
            raise _unavailable()
        return self._client

    @property
    def js(self) -> JetStreamContext:
        """Raises :class:`Unavailable` before the first connection."""
        if self._js is None:
            raise _unavailable()
        return self._js

    @property
    def is_up(self) -> bool:
        return self._up.is_set()

    async def wait_until_up(self, seconds: float) -> None:
        """Return once there is a connection.

        Nothing is written while there is none: the client would buffer it and send it after its sender got an error.

        Raises:
            Unavailable: after ``seconds``, or at once when NATS has been disconnected for longer, so that requests do
                not accumulate during an outage.
        """
        if self._up.is_set():
            return
        if time.monotonic() - self._down_since > seconds:
            raise _unavailable()
        try:
            async with asyncio.timeout(seconds):
                await self._up.wait()
        except TimeoutError:
            raise _unavailable() from None

    async def _on_disconnected(self) -> None:
        self._up.clear()
        self._down_since = time.monotonic()

    async def _on_reconnected(self) -> None:
        for _, _, on_reconnected in self._subscriptions:
            on_reconnected()
        self._up.set()

    async def _on_closed(self) -> None:
        self._up.clear()
        if not self._stopping:
            self._closed.set()


def _unavailable() -> Unavailable:
    return Unavailable("Messages cannot be accepted now. Nothing is lost; try again soon.")
