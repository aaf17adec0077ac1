"""What chat-store refuses, and how Postgres' errors are told apart.

One tree: ``code`` is that of :class:`parley.contracts.rpc.RpcError`.
"""

from typing import Final

import asyncpg


class StoreError(Exception):
    """A request that is not carried out. ``str()`` is for people."""

    code = "internal"
    retry_after: float | None = None


class NotFound(StoreError):
    """It does not exist, or it is somebody else's: the caller cannot tell which."""

    code = "not_found"


class Forbidden(StoreError):
    """The caller may see it, and may not do this to it."""

    code = "forbidden"


class Conflict(StoreError):
    """Not in the state that it is in now."""

    code = "conflict"


class Invalid(StoreError):
    """The request makes no sense, now or later."""

    code = "invalid"


class TooMany(StoreError):
    """A limit is reached."""

    code = "too_many"


class Unavailable(StoreError):
    """Postgres does not answer."""

    code = "unavailable"
    retry_after = 2.0

    def __init__(self) -> None:
        super().__init__("The database does not answer. Try again in a moment.")


class Contended(StoreError):
    """Others changed the chat again and again."""

    code = "unavailable"
    retry_after = 1.0

    def __init__(self) -> None:
        super().__init__("The chat is busy. Try again in a moment.")


class SchemaMismatch(Exception):
    """The database is not of the version that this program needs. The text says what to do."""


class SchemaTooOld(SchemaMismatch):
    """The migration of this program's version has not run yet."""


class CannotServe(Exception):
    """The process has to end; the text says why, for a person. Its supervisor starts it again."""


# Classes of SQLSTATE that speak of the server and not of the data: connection, schema and rights, resources, operator,
# system. (The schema: another version is being rolled out. Nobody's message is to blame for that.)
_OUTAGE_CLASSES = ("08", "42", "53", "57", "58")
# A replica that has not been promoted yet, and transactions that lost against another: again, and it works.
_OUTAGE_STATES = ("25006", "40001", "40P01", "55P03", "25P03")


ROLE_MISSING: Final = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)
"""The role, its password or the database is not there: an operator of Postgres that has just started makes them later
than Postgres answers."""


def is_outage(error: BaseException) -> bool:
    """Whether ``error`` says that Postgres is away or busy, so that the same data can succeed later.

    Anything else is the data's fault: it would fail again for ever.
    """
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state[:2] in _OUTAGE_CLASSES or state in _OUTAGE_STATES
    if isinstance(error, asyncpg.InternalClientError):
        # The driver's state after the server has ended the session and before it knows that.
        return True
    if isinstance(error, asyncpg.InterfaceError):
        # The driver's word for a lost connection, but also, as a ValueError, for an argument that it cannot encode.
        return not isinstance(error, ValueError)
    return isinstance(error, OSError | TimeoutError | Unavailable | Contended)
