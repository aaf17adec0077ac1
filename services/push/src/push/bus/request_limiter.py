"""All rooms' requests of a process: at most so many at once, with backoff while chat-store is unavailable."""

import asyncio
import contextlib
import logging
from typing import Final, Protocol, TypeVar

from parley.contracts import rpc
from parley.contracts.access import identity
from parley.contracts.rpc import Request
from parley.runtime.backoff import Backoff
from parley.runtime.nats.errors import BusUnavailable, RpcRefused
from push.metrics import REQUESTS

log = logging.getLogger(__name__)

_REQUESTS: Final[dict[type, tuple[str, float]]] = {
    rpc.Sync: ("sync", 4.0),
    rpc.SnapshotRequest: ("snapshot", 2.0),
    rpc.Versions: ("versions", 5.0),
    identity.FindRevoked: ("find_revoked", 5.0),
}
"""The requests of push: what a metric calls them, and how many seconds a reply may take."""

Reply = TypeVar("Reply")


def new_backoff() -> Backoff:
    """Return the backoff of push's requests."""
    return Backoff(0.1, 5.0)


class RequestBus(Protocol):
    """What requests need of :class:`push.bus.connection.Bus`."""

    async def ask(self, request: Request[Reply], *, timeout: float, subject: str | None = None) -> Reply: ...


class RequestLimiter:
    """Sends at most ``limit`` requests at once."""

    def __init__(self, bus: RequestBus, limit: int) -> None:
        self._bus = bus
        self._limit = asyncio.Semaphore(limit)
        self._store_unavailable = False
        self._available = asyncio.Event()

    async def ask(self, request: Request[Reply], *, subject: str | None = None) -> Reply:
        """Send a request to chat-store or, with a ``subject``, to the worker of an answer.

        Raises:
            RpcRefused, NoResponder, BusUnavailable: there is no reply.
        """
        name, timeout = _REQUESTS[type(request)]
        outcome = "cancelled"
        failure: BusUnavailable | None = None
        try:
            async with self._limit:
                reply = await self._bus.ask(request, timeout=timeout, subject=subject)
            outcome = "ok"
            return reply
        except RpcRefused as refusal:
            outcome = refusal.code
            raise
        except BusUnavailable as error:
            outcome, failure = "unavailable", error
            raise
        finally:
            REQUESTS.labels(name, outcome).inc()
            if subject is None and outcome != "cancelled":
                self._note_store(failure)

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until chat-store is available again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._available.wait()

    def retry_now(self) -> None:
        """End all waits: what was unavailable is back."""
        self._available.set()
        self._available = asyncio.Event()

    def _note_store(self, error: BusUnavailable | None) -> None:
        """Log when chat-store stops or begins to reply."""
        if error is not None and not self._store_unavailable:
            self._store_unavailable = True
            log.warning("chat-store does not reply; readers keep what they have: %s", error)
        elif error is None and self._store_unavailable:
            self._store_unavailable = False
            log.info("chat-store replies again")
            self.retry_now()
