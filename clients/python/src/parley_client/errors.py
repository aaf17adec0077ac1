"""Errors of the client."""


class ClientError(Exception):
    """The base of all errors of the client."""


class NotReachable(ClientError):
    """No response, or no acknowledgement, before the deadline."""


class NotParley(ClientError):
    """The server at the address is not Parley."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url} is no address of Parley. One looks like http://127.0.0.1:8000")


class Problem(ClientError):
    """The gateway refused a request (RFC 9457).

    Attributes:
        status: The HTTP status.
        code: For programs.
        detail: For people.
    """

    def __init__(self, status: int, code: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{detail} ({status} {code})")
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (429, 502, 503, 504)


class SignedOut(Problem):
    """The session or API key was revoked or has ended (401), and cannot be renewed."""


class ConnectionRefused(ClientError):
    """Push closed the socket with a code that forbids a reconnect, or refused a chat with an ``error`` frame."""

    def __init__(self, code: int | str, message: str) -> None:
        super().__init__(f"{message or 'refused'} ({code})")
        self.code = code
