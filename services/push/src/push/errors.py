"""The errors of push: those that close a socket, those that refuse an HTTP request, and the one that ends the process.

``Refused`` carries a close code: ``TicketExpired`` (4002: reconnect with a new one), ``BadFrame`` (4400),
``NotAuthenticated`` (4401), ``TooMany`` (4429). ``HttpError`` carries a status and the fields of a problem.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from parley.contracts.frames import CloseCode


class StartupError(Exception):
    """The process cannot go on; the text says why."""


class Refused(Exception):
    """The socket is closed with ``code`` and the message as its reason (at most 123 bytes, RFC 6455 §5.5)."""

    code: ClassVar[int]


class BadFrame(Refused):
    """A frame that no client of this protocol sends."""

    code = CloseCode.BAD_FRAME


class NotAuthenticated(Refused):
    """No ticket, or one that is not good."""

    code = CloseCode.NOT_AUTHENTICATED


class TicketExpired(Refused):
    """The ticket was good once; the client gets a new one."""

    code = CloseCode.TICKET_EXPIRED


class TooMany(Refused):
    """Too many sockets or chats of a user, or too many frames in a second."""

    code = CloseCode.TOO_MANY


@dataclass(eq=False)
class HttpError(Exception):
    """A request for a stream of events is refused.

    Attributes:
        code: For programs; ``docs/protocol.md`` lists them.
        detail: For people.
        retry_after: Seconds after which the same request may succeed.
    """

    status: int
    code: str
    detail: str
    _: KW_ONLY
    retry_after: int | None = None
    headers: Sequence[tuple[bytes, bytes]] = ()
