"""What push refuses, with the close code that says so, and why it would not run.

``Refused``: ``TicketExpired`` (4002: reconnect with a new one), ``BadFrame`` (4400), ``NotAuthenticated`` (4401),
``TooMany`` (4429). ``Unable`` ends the process.
"""

from __future__ import annotations

from typing import ClassVar

from parley.contracts.frames import CloseCode

__all__ = ["BadFrame", "NotAuthenticated", "Refused", "TicketExpired", "TooMany", "Unable"]


class Unable(Exception):
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
