"""The connections to Postgres: a pool with bounded waiting."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from chat_store.errors import Unavailable, is_outage
from chat_store.repository import Connection

log = logging.getLogger(__name__)

SERVER_SETTINGS = {
    "timezone": "UTC",
    "application_name": "parley-chat-store",
    # Every statement is a few look-ups by key: planning it anew each time costs as much as running it, compiling it far
    # more; and a plan that was made while a table was small must not read all of it once it is large.
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "enable_seqscan": "off",
}
CONNECT_TIMEOUT = 3.0


if TYPE_CHECKING:
    _Base = asyncpg.Connection[asyncpg.Record]
else:
    _Base = asyncpg.Connection


class _Connection(_Base):
    """A pooled connection that needs no cleaning between two users: nobody here changes a session's state."""

    def get_reset_query(self) -> str:
        return ""


class Database:
    """A pool that is made once Postgres answers, and outlives its restarts.

    Args:
        url: ``postgresql://…``; not through a proxy that shares sessions between clients.
        size: Connections at most.
        acquire_timeout: Seconds to wait for one before the caller is told that the database is away.
        command_timeout: Seconds that a statement may take.
    """

    def __init__(self, url: str, *, size: int, acquire_timeout: float, command_timeout: float) -> None:
        self._url = url
        self._size = size
        self._acquire_timeout = acquire_timeout
        self._command_timeout = command_timeout
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        """Connect; waits while Postgres is away."""
        pool = await asyncpg.create_pool(
            self._url,
            # No floor: asyncpg would restore it by itself, loudly, all through an outage.
            min_size=0,
            max_size=self._size,
            timeout=CONNECT_TIMEOUT,
            command_timeout=self._command_timeout,
            server_settings=SERVER_SETTINGS,
            connection_class=_Connection,
        )
        warned = False
        while True:
            try:
                async with pool.acquire():
                    self._pool = pool
                    return
            except Exception as error:
                if not is_outage(error):
                    raise
                if not warned:
                    log.warning("Postgres does not answer yet: %s", error or type(error).__name__)
                    warned = True
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), 5)
            except TimeoutError:
                self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Raises: Unavailable: Postgres is away, or every connection is taken for too long."""
        if self._pool is None:
            raise Unavailable
        try:
            connection = await self._pool.acquire(timeout=self._acquire_timeout)
        except Exception as error:
            if is_outage(error):
                raise Unavailable from error
            raise
        try:
            yield connection
        finally:
            # Shielded: a connection that is not given back is lost to the pool.
            await asyncio.shield(self._pool.release(connection))

    async def connect_alone(self, **settings: str) -> "asyncpg.Connection[asyncpg.Record]":
        """A connection of one's own, for a lock that a session holds."""
        return await asyncpg.connect(
            self._url,
            timeout=CONNECT_TIMEOUT,
            command_timeout=self._command_timeout,
            server_settings={**SERVER_SETTINGS, **settings},
        )

    async def problem(self) -> str | None:
        """A sentence when Postgres does not answer."""
        try:
            async with self.connection() as connection:
                await connection.fetchval("SELECT 1", timeout=self._acquire_timeout)
        except Exception as error:
            if is_outage(error):
                return "Postgres does not answer."
            raise
        return None
