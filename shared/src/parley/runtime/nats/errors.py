"""What goes wrong between a service and NATS."""

from typing import Final

import nats.errors
import nats.js.errors

TRANSIENT_ERRORS: Final = (TimeoutError, OSError, RuntimeError, nats.errors.Error, nats.js.errors.Error)
"""What any call of the NATS client may raise while the connection is down.

The RuntimeError is uvloop's, for a write to a socket that it has closed and whose loss the client has not noticed yet.
"""


class BusUnavailable(Exception):
    """NATS, or the service behind a subject, did not answer in time. What was sent may still arrive."""


class NoResponder(BusUnavailable):
    """The subject has no subscriber."""


class RpcRefused(Exception):
    """The request arrived and was refused; fields as in :class:`parley.contracts.rpc.RpcError`."""

    def __init__(self, code: str, message: str, retry_after: float | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.reason = reason


class NotProvisioned(Exception):
    """A stream or consumer that the service needs is missing or differs. The message names the fix."""
