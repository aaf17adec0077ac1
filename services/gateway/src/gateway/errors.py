"""Errors of a request, as one tree that :mod:`gateway.http.problems` maps to HTTP; the error of the process."""

from collections.abc import Mapping
from typing import ClassVar


class GatewayError(Exception):
    """A request cannot be carried out.

    Attributes:
        status: The HTTP status.
        code: For programs; stable. ``docs/protocol.md`` lists them.
        detail: For people: what is wrong and, where one can, what to do.
        retry_after: Seconds after which the same request may succeed.
        field: Which member of the body is wrong, such as ``messages[0].content``.
    """

    status: int
    default_code: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status or self.status
        self.detail = detail
        self.code = code or self.default_code
        self.retry_after = retry_after
        self.field = field
        self.headers = dict(headers or {})


class Malformed(GatewayError):
    """The request is not HTTP, or its body is not JSON."""

    status = 400
    default_code = "malformed"


class NotAuthenticated(GatewayError):
    """The request carries neither a good token nor a good cookie."""

    status = 401
    default_code = "not_authenticated"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail, code=code, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(GatewayError):
    """This user, or this page, may not do that."""

    status = 403
    default_code = "forbidden"


class NotFound(GatewayError):
    """It does not exist, or this user may not read it: the response is the same."""

    status = 404
    default_code = "not_found"


class MethodNotAllowed(GatewayError):
    """The address exists and does not take this method."""

    status = 405
    default_code = "method_not_allowed"


class RequestTimeout(GatewayError):
    """The body did not arrive within its timeout."""

    status = 408
    default_code = "request_timeout"


class Conflict(GatewayError):
    """The state of the chat or message does not allow it, or the id is taken."""

    status = 409
    default_code = "conflict"


class OtherUser(GatewayError):
    """`Parley-User` names another user than the session's."""

    status = 412
    default_code = "other_user"


class TooLarge(GatewayError):
    """The body, or a text within it, is longer than its limit."""

    status = 413
    default_code = "too_large"


class UnsupportedMediaType(GatewayError):
    """The body is not `application/json`."""

    status = 415
    default_code = "unsupported_media_type"


class Invalid(GatewayError):
    """The body or a parameter does not validate."""

    status = 422
    default_code = "invalid"


class TooMany(GatewayError):
    """A rate or a number is over its limit."""

    status = 429
    default_code = "too_many"


class InternalError(GatewayError):
    """A bug, here or in the service that was asked."""

    status = 500
    default_code = "internal"


class Unavailable(GatewayError):
    """A dependency (NATS, chat-store, push, a worker) does not answer at the moment."""

    status = 503
    default_code = "unavailable"

    def __init__(self, detail: str, *, code: str | None = None, retry_after: float = 2.0) -> None:
        super().__init__(detail, code=code, retry_after=retry_after)


class OutcomeUnknown(Unavailable):
    """The prompt may have been stored, or not. Sending it again with the same id is safe."""


class StartupError(Exception):
    """The process cannot go on; the text names the cause and what to do.

    Attributes:
        exit_code: 1, or 3 when a stream is missing or differs.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
