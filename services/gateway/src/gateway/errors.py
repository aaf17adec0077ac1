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

    def __init_subclass__(cls, *, status: int | None = None, code: str | None = None) -> None:
        # OutcomeUnknown has those of its parent.
        if status is not None and code is not None:
            cls.status, cls.default_code = status, code

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


class Malformed(GatewayError, status=400, code="malformed"):
    """The request is not HTTP, or its body is not JSON."""


class NotAuthenticated(GatewayError, status=401, code="not_authenticated"):
    """The request carries neither a good token nor a good cookie."""

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail, code=code, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(GatewayError, status=403, code="forbidden"):
    """This user, or this page, may not do that."""


class NotFound(GatewayError, status=404, code="not_found"):
    """It does not exist, or this user may not read it: the response is the same."""


class MethodNotAllowed(GatewayError, status=405, code="method_not_allowed"):
    """The address exists and does not take this method."""


class RequestTimeout(GatewayError, status=408, code="request_timeout"):
    """The body did not arrive within its timeout."""


class Conflict(GatewayError, status=409, code="conflict"):
    """The state of the chat or message does not allow it, or the id is taken."""


class OtherUser(GatewayError, status=412, code="other_user"):
    """`Parley-User` names another user than the session's."""


class TooLarge(GatewayError, status=413, code="too_large"):
    """The body, or a text within it, is longer than its limit."""


class UnsupportedMediaType(GatewayError, status=415, code="unsupported_media_type"):
    """The body is not `application/json`."""


class Invalid(GatewayError, status=422, code="invalid"):
    """The body or a parameter does not validate."""


class TooMany(GatewayError, status=429, code="too_many"):
    """A rate or a number is over its limit."""


class InternalError(GatewayError, status=500, code="internal"):
    """A bug, here or in the service that was asked."""


class Unavailable(GatewayError, status=503, code="unavailable"):
    """A dependency (NATS, chat-store, push, a worker) does not answer at the moment."""

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
