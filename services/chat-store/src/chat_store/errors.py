"""The errors of chat-store, and the classification of Postgres' errors.

One tree: ``code`` is that of :class:`parley.contracts.rpc.RpcError`.
"""

import asyncpg

from parley.contracts.limits import MODEL_NOT_ALLOWED


class StoreError(Exception):
    """A request that is not carried out. ``str()`` is for people.

    Args:
        message: Instead of that of the class.

    Attributes:
        reason: As in :class:`parley.contracts.rpc.RpcError`.
    """

    code = "internal"
    message = ""
    retry_after: float | None = None
    reason: str | None = None

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.message)


class NotFound(StoreError):
    """It does not exist, or belongs to another user; the caller cannot distinguish the two."""

    code = "not_found"


class NoSuchMessage(NotFound):
    """The chat is the caller's, and the message is not in it; it may be accepted and not stored yet."""

    message = "There is no such message."


class Forbidden(StoreError):
    """The caller may see it, and may not do this to it."""

    code = "forbidden"


class ModelNotAllowed(Forbidden):
    """The user may not use the model."""

    reason = MODEL_NOT_ALLOWED

    def __init__(self, model: str | None) -> None:
        which = "any model" if model is None else f"the model {model}; GET /v1/models lists those that you may"
        super().__init__(f"You may not use {which}.")


class Conflict(StoreError):
    """The current state does not allow the request."""

    code = "conflict"


class Invalid(StoreError):
    """The request makes no sense, now or later."""

    code = "invalid"


class TooMany(StoreError):
    """A limit is reached."""

    code = "too_many"


class LimitReached(TooMany):
    """A limit that an operator has set is reached; ``reason`` names it.

    Args:
        retry_after: Seconds after which there is room again, or after which it is worth a try.
    """

    def __init__(self, reason: str, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class TooManySearches(TooMany):
    """Too many searches of one user wait for each other."""

    message = "Your other searches have not ended yet. Wait for them, then search again."
    retry_after = 1.0


class SearchesBusy(StoreError):
    """All connections for searches are taken, by other users."""

    code = "unavailable"
    message = "Too many people search at the moment. Try again in a moment."
    retry_after = 2.0


class SearchTooSlow(StoreError):
    """A search was ended by its time limit."""

    code = "unavailable"
    retry_after = 2.0

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The search took longer than {seconds:g} s and was ended. Search for a longer or rarer word.")


class SearchCancelled(StoreError):
    """The caller has cancelled the search."""

    code = "too_many"
    message = "The search was cancelled."


class Unavailable(StoreError):
    """Postgres does not answer."""

    code = "unavailable"
    message = "The database does not answer. Try again in a moment."
    retry_after = 2.0


class Contended(StoreError):
    """The chat was changed concurrently during every try."""

    code = "unavailable"
    message = "The chat is busy. Try again in a moment."
    retry_after = 1.0


class SchemaMismatch(Exception):
    """The database is not of the version that this program needs. The message names the fix."""


class SchemaTooOld(SchemaMismatch):
    """The migration of this program's version has not run yet."""


class CannotServe(Exception):
    """The process has to end; the message names the reason. Its supervisor starts it again."""


READ_ONLY = (
    "Postgres cannot be written: it is a standby, or read-only by a setting. Let DATABASE_URL lead to the primary, or "
    "take default_transaction_read_only back."
)

_DATA_CLASSES = (
    "21",  # cardinality violation
    "22",  # data exception: what cannot be encoded, converted or computed
    "23",  # integrity constraint violation
    "44",  # a view's check
    "54",  # program limit exceeded: a value that is too large
    "P0",  # raised by a trigger
    "XX",  # a defect that this statement meets, or a damaged page: it must not hold up every other chat
)
"""Classes of SQLSTATE that speak of what the statement holds.

All others speak of the server, the session or the operator: 08 connection, 25 and 40 transaction, 26 and 34 what a
session knew, 28 login, 3D database, 42 schema and rights (another version is being rolled out), 53 connections, disk
and memory, 55 and 57 state and shutdown, 58 system, and a pooler's own. No message causes those.
One that is not known is an outage, too: to wait loses nothing.
"""


def is_outage(error: BaseException) -> bool:
    """Whether ``error`` is transient: Postgres is down or busy, and the same data can succeed later.

    Anything else is the data's fault: it would fail again for ever. What fails while a connection is made is always an
    outage (:class:`chat_store.storage.pool.Database` raises ``Unavailable``).
    """
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] not in _DATA_CLASSES
    if isinstance(error, asyncpg.InternalClientError):
        # The driver's state after the server has ended the session and before it knows that.
        return True
    if isinstance(error, asyncpg.InterfaceError):
        # The driver's word for a lost connection, but also, as a ValueError, for an argument that it cannot encode.
        return not isinstance(error, ValueError)
    return isinstance(error, OSError | TimeoutError | Unavailable | Contended)


def describe(error: BaseException) -> str:
    """A sentence about an outage of Postgres, with what to do; never empty."""
    if isinstance(error, Unavailable | Contended) and error.__cause__ is not None:
        error = error.__cause__
    reason = " ".join(str(error).split()).rstrip(".")
    match error:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return f"Postgres refuses the login ({reason}). Correct the role and the password in DATABASE_URL."
        case asyncpg.InvalidCatalogNameError():
            return f"Postgres has no such database ({reason}). Correct the end of DATABASE_URL, or create it."
        case asyncpg.TooManyConnectionsError():
            return f"Postgres takes no more connections ({reason}). Raise max_connections, or lower DATABASE_POOL_SIZE."
        case asyncpg.CannotConnectNowError():
            return f"Postgres is starting or stopping ({reason})."
        case asyncpg.DiskFullError():
            return f"The disk of Postgres is full ({reason})."
        case asyncpg.ReadOnlySQLTransactionError():
            return READ_ONLY
        case asyncpg.PostgresError() if error.sqlstate is not None:
            return f"Postgres refuses (SQLSTATE {error.sqlstate}: {reason})."
        case asyncpg.InternalClientError():
            return "Postgres has ended the connection."
        case TimeoutError():
            return "Postgres does not answer in time."
        case Unavailable():
            return "Postgres does not answer."
        case Contended():
            return "A chat is changed by others all the time."
        case _:
            return f"Postgres does not answer ({reason or type(error).__name__})."
