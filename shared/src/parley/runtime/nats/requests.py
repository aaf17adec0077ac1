"""Requests and replies over core NATS."""

import functools
import time
from typing import Any, Final, TypeVar, cast

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from parley.contracts.rpc import Request, RpcError
from parley.runtime import tracing
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable, NoResponder, RpcRefused

Reply = TypeVar("Reply")

TIMEOUT: Final = "Parley-Timeout"
"""Header of a request: how many seconds its sender waits for the reply. An older request gets no reply."""


async def ask(nc: Client, request: Request[Reply], *, timeout: float, subject: str | None = None) -> Reply:
    """Send a request and return the decoded reply.

    At most once: on ``BusUnavailable`` the request may have been carried out.

    Args:
        timeout: Seconds to wait for the reply.
        subject: Instead of the request's own subject, for a request whose subject names its recipient.

    Raises:
        RpcRefused: the reply is an :class:`RpcError`.
        NoResponder: the subject has no subscriber.
        BusUnavailable: no reply within ``timeout``, or no connection.
    """
    subject = subject or request.subject()
    try:
        message = await nc.request(
            subject,
            msgspec.json.encode(request),
            timeout=timeout,
            headers={**tracing.inject(), TIMEOUT: f"{timeout:.3f}"},
        )
    except nats.errors.NoRespondersError as error:
        raise NoResponder(subject) from error
    except TRANSIENT_ERRORS as error:
        raise BusUnavailable(f"{subject}: {error!r}") from error
    reply = _decoder(type(request)).decode(message.data)
    if isinstance(reply, RpcError):
        raise RpcRefused(reply.code, reply.message, reply.retry_after, reply.reason)
    return cast(Reply, reply)


@functools.cache
def _decoder(kind: type[Request[Any]]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind.reply_type() | RpcError)


class TimedMsg(Msg):
    """A message that knows when (``time.monotonic()``) it arrived here: a client's ``msg_class``."""

    def __init__(self, *arguments: Any, **fields: Any) -> None:
        super().__init__(*arguments, **fields)
        self.arrived_at = time.monotonic()


def has_expired(message: Msg) -> bool:
    """Whether the sender of a request has stopped waiting. By the clock of this machine alone: others may differ."""
    seconds = (message.headers or {}).get(TIMEOUT)
    if seconds is None or not isinstance(message, TimedMsg):
        return False
    try:
        return time.monotonic() - message.arrived_at > float(seconds)
    except ValueError:
        return False
