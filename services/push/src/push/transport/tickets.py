"""Each ticket opens one socket.

A process knows the tickets it accepted until they expire, and reports each to the others (``ctl.ticket.used``, at most
once). So within one process a ticket is good exactly once; on another it stays good for the time that the message
takes, and for its whole minute while NATS is away. That is enough for what it is against, a ticket that was read in
passing, and a socket costs no request (``docs/decisions/0019``).
"""

import hashlib
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from parley.contracts.decoding import UNDECODABLE
from parley.contracts.live import TicketUsed

log = logging.getLogger(__name__)

_MAX_USED: Final = 200_000
"""Tickets that are remembered; of more within their time, the oldest are forgotten."""

_LEEWAY: Final = 30.0
"""Seconds that a ticket is remembered beyond its time: clocks differ, and checking it allows for that."""

_used = msgspec.json.Decoder(TicketUsed)


class Tickets:
    """The tickets that are used up.

    Args:
        publish: Reports one to the other processes.
    """

    def __init__(self, publish: Callable[[TicketUsed], object], *, limit: int = _MAX_USED) -> None:
        self._publish = publish
        self._limit = limit
        self._expiry: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._expiry)

    def use(self, ticket: str, expires_at: float) -> bool:
        """Use up a ticket whose signature is good. False: it was used before."""
        # All but the signature, which can be spelled in more than one way, and the rest, which it covers, cannot.
        digest = hashlib.sha256(ticket.rpartition(".")[0].encode()).hexdigest()[:32]
        if digest in self._expiry:
            return False
        self._remember(digest, expires_at)
        self._publish(TicketUsed(ticket=digest, expires_at=expires_at))
        return True

    def on_used(self, _subject: bytes, payload: bytes, _headers: object = None) -> None:
        """Note a ticket that another process has used."""
        try:
            used = _used.decode(payload)
        except UNDECODABLE as error:
            log.warning("A used ticket does not decode: %s", error)
            return
        self._remember(used.ticket, used.expires_at)

    def _remember(self, digest: str, expires_at: float) -> None:
        now = time.time()
        self._expiry.setdefault(digest, expires_at + _LEEWAY)
        # All tickets have about the same time, so the first are the first to expire.
        while (oldest := next(iter(self._expiry), None)) is not None:
            if self._expiry[oldest] >= now and len(self._expiry) <= self._limit:
                return
            del self._expiry[oldest]
