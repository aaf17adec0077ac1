"""Audit events of the gateway: refused sign-ins. chat-store, which carries out every change, publishes all others."""

import contextlib
import logging
import time
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from gateway.auth.rate_limit import RateLimiter
from gateway.bus.connection import Bus
from gateway.metrics import REFUSED_SIGN_INS
from parley.contracts import subjects
from parley.contracts.access.audit import AuditEvent
from parley.contracts.ids import new_id
from parley.runtime.forwarded import group_of
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley.runtime.nats.publish import MSG_ID

log = logging.getLogger(__name__)

Method = Literal["oidc", "jwt", "proxy", "api_key"]

_PER_SECOND: Final = 1.0
_BURST: Final = 30
"""The limits of events and log lines for one address, so that trying many keys fills neither the stream nor the log."""


class Audit:
    """Publishes to the stream ``AUDIT``, at most once: without an acknowledgement, and not while NATS is away."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._addresses = RateLimiter(_PER_SECOND, _BURST)

    async def sign_in_refused(
        self,
        method: Method,
        reason: str,
        *,
        address: str,
        request_id: str | None,
        cause: BaseException | None = None,
    ) -> None:
        """Publish that a sign-in was refused.

        Args:
            reason: A problem's code, or what the page gets as ``sign_in_error``.
            cause: Why a token is not valid; for the log only.
            request_id: Names the log line, which has the address: the event contains no personal data.
        """
        REFUSED_SIGN_INS.labels(method, reason).inc()
        if self._addresses.admit(group_of(address), time.monotonic()):
            return
        details = {"method": method, "address": address, "request_id": request_id}
        log.warning("A sign-in was refused: %s", f"{reason}: {cause!r}" if cause else reason, extra=details)
        if not self._bus.is_up:
            return
        event = AuditEvent(
            id=new_id(),
            kind="sign_in_refused",
            occurred_at=datetime.now(UTC),
            method=method,
            reason=reason,
            request_id=request_id,
        )
        with contextlib.suppress(*TRANSIENT_ERRORS):
            await self._bus.client.publish(
                subjects.audit(event.kind), msgspec.json.encode(event), headers={MSG_ID: event.id}
            )
