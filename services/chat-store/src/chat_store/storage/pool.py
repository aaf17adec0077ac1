"""The connections to Postgres: how one is made, and a pool of them with bounded waiting."""

import asyncio
import functools
import logging
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import asyncpg

from chat_store.errors import READ_ONLY, CannotServe, Unavailable, describe
from chat_store.storage.rows import Connection

log = logging.getLogger(__name__)

MIN_VERSION: Final = 15
"""The oldest PostgreSQL that is tested. (What is needed most, the end of idle sessions, is in 14 already.)"""
MAX_VERSION: Final = 18
"""The newest one that is tested; later ones are not refused."""

SESSION_SETTINGS: Final = {
    "timezone": "UTC",
    "application_name": "parley-chat-store",
    # Every statement is a few look-ups by key: planning it anew each time costs as much as running it, compiling it far
    # more; and a plan that was made while a table was small must not read all of it once it is large.
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "enable_seqscan": "off",
}
CONNECT_TIMEOUT: Final = 3.0
CONNECT_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""What an attempt to connect may raise: Postgres is away, or refuses."""
_RELEASE_TIMEOUT: Final = 5.0
_PROBE_TIMEOUT: Final = 2.0
_CLOSE_TIMEOUT: Final = 5.0
_CONNECT_AGAIN: Final = 0.1
_SHARED: Final = (
    "DATABASE_URL leads to a pooler that shares sessions between clients (PgBouncer in transaction or statement mode), "
    "and chat-store needs its own, for the lock of its leader: connect to Postgres itself, or set "
    "pool_mode = session for this database."
)


if TYPE_CHECKING:
    Session = asyncpg.Connection[asyncpg.Record]
else:
    Session = asyncpg.Connection


class _Connection(Session):
    """A pooled connection that needs no cleaning between two users: nobody here changes a session's state."""

    def get_reset_query(self) -> str:
        return ""


async def connect(url: str, *, command_timeout: float | None = None, settings: Mapping[str, str]) -> Session:
    """A connection of one's own, with ``settings`` for its session."""
    connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT, command_timeout=command_timeout)
    try:
        await _configure(connection, settings)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _configure(connection: Connection, settings: Mapping[str, str]) -> None:
    """Set what a session needs, by statements: a pooler takes few of them when a connection begins."""
    # What is set for the role or the database is meant for people: here each statement has its timeout, and each wait.
    # The first is sent alone: a timeout that is set when a message begins holds for all of that message.
    await connection.execute("SET statement_timeout = 0")
    settings = {"lock_timeout": "0", **settings}
    await connection.execute(";".join(f"SET {name} = '{value}'" for name, value in settings.items()))


async def check_server(url: str) -> None:
    """Return when the server can do what chat-store needs.

    Raises:
        CannotServe: it is too old, or each client does not have a session of its own.
    """
    token = secrets.token_hex(8)
    first = await connect(url, command_timeout=CONNECT_TIMEOUT, settings={"parley.session": token})
    try:
        version = first.get_server_version()
        if version.major < MIN_VERSION:
            raise CannotServe(f"PostgreSQL {version.major} is too old: Parley needs {MIN_VERSION} or newer.")
        # A pooler gives the session that was used last to whoever asks next.
        second = await connect(url, command_timeout=CONNECT_TIMEOUT, settings={"application_name": "parley-chat-store"})
        try:
            for _ in range(3):
                if await _has(second, token) or not await _has(first, token):
                    raise CannotServe(_SHARED)
        finally:
            second.terminate()
    finally:
        first.terminate()


async def _has(connection: Session, token: str) -> bool:
    """Whether the session that runs this is the marked one; a single message, as a pooler may change it in between."""
    is_marked = f"current_setting('parley.session', true) = '{token}'"
    status: str = await connection.execute(f"SELECT WHERE {is_marked}")
    return status == "SELECT 1"


class Database:
    """A pool that is made once Postgres answers, and outlives its restarts.

    Args:
        url: ``postgresql://…``; not through a pooler that shares sessions between clients.
        size: Connections at most.
        acquire_timeout: Seconds to wait for one before ``Unavailable`` is raised.
        command_timeout: Seconds that a statement may take.
    """

    def __init__(self, url: str, *, size: int, acquire_timeout: float, command_timeout: float) -> None:
        self._url = url
        self._size = size
        self._acquire_timeout = acquire_timeout
        self._command_timeout = command_timeout
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._releases: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Make the pool, which connects when a connection is asked for.

        Raises:
            CannotServe: the URL is none.
        """
        try:
            self._pool = await asyncpg.create_pool(
                self._url,
                # No floor: asyncpg would restore it by itself, loudly, all through an outage.
                min_size=0,
                max_size=self._size,
                timeout=CONNECT_TIMEOUT,
                command_timeout=self._command_timeout,
                connection_class=_Connection,
                init=functools.partial(_configure, settings=SESSION_SETTINGS),
            )
        except ValueError as error:
            raise CannotServe(f"DATABASE_URL is not as it must be: {error}.") from error

    async def wait_until_usable(self) -> None:
        """Return once Postgres answers; :meth:`problem` reports why it does not.

        Raises:
            CannotServe: it is too old, or behind a pooler that shares sessions.
        """
        while True:
            try:
                await check_server(self._url)
                return
            except CONNECT_ERRORS as error:
                log.debug("Postgres cannot be used yet: %s", describe(error))
            await asyncio.sleep(_CONNECT_AGAIN)

    async def close(self) -> None:
        if self._pool is not None:
            try:
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Raises: Unavailable: Postgres is away or refuses, or every connection is taken for too long."""
        if self._pool is None:
            raise Unavailable
        try:
            connection = await self._pool.acquire(timeout=self._acquire_timeout)
        except CONNECT_ERRORS as error:
            # Whatever it is: nothing of a message has been sent.
            raise Unavailable from error
        try:
            yield connection
        except asyncpg.ReadOnlySQLTransactionError:
            # A session may stay read-only when the server, or its role, is so no longer.
            connection.terminate()
            raise
        finally:
            await self._release(self._pool, connection)

    async def _release(self, pool: "asyncpg.Pool[asyncpg.Record]", connection: Connection) -> None:
        """Give a connection back, even when the caller is cancelled meanwhile: otherwise it is lost to the pool.

        One that cannot be given back in time is broken and closed by the pool; what was asked of it is known already.
        """
        task = asyncio.ensure_future(pool.release(connection, timeout=_RELEASE_TIMEOUT))  # type: ignore[arg-type]
        self._releases.add(task)
        task.add_done_callback(self._released)
        await asyncio.wait([task])

    def _released(self, task: "asyncio.Task[None]") -> None:
        self._releases.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("A connection was closed and not given back: %r", error)

    async def connect_alone(self, **settings: str) -> Session:
        """A connection of one's own, for a lock that a session holds."""
        return await connect(
            self._url, command_timeout=self._command_timeout, settings={**SESSION_SETTINGS, **settings}
        )

    async def problem(self) -> str | None:
        """A sentence when Postgres cannot be used or written; raises nothing."""
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT), self.connection() as connection:
                if await connection.fetchval("SELECT current_setting('transaction_read_only')::boolean"):
                    connection.terminate()
                    return READ_ONLY
        except Exception as error:
            return describe(error)
        return None
