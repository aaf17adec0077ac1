"""The broker of chat-store, its middlewares, and how a handler is subscribed.

At most once per request, and idempotent, so a caller without a reply repeats its request. A refusal is an ``RpcError``;
the chat of another user gets the same reply as one that does not exist.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
from faststream import BaseMiddleware, StreamMessage
from faststream.nats import NatsBroker, NatsMessage, NatsResponse, NatsRouter
from nats.aio.client import Client
from nats.aio.msg import Msg

from chat_store import metrics
from chat_store.errors import Invalid, StoreError, Unavailable, describe, is_outage
from parley.contracts import rpc, subjects
from parley.contracts.decoding import UNDECODABLE
from parley.contracts.text import NUL, storable_json
from parley.runtime import tracing
from parley.runtime.nats.requests import has_expired

log = logging.getLogger(__name__)

QUEUE: Final = "chat-store"
"""The queue group: each request is served by one replica."""

WORKERS: Final = 64
"""Concurrent requests of one verb; the pool bounds them further."""

_EXPIRED: Final = rpc.RpcError(code="unavailable", message="The request was answered too late.", retry_after=1.0)

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])
Next = Callable[[StreamMessage[Msg]], Awaitable[Any]]


def handles(router: NatsRouter, request: type[rpc.StoreRequest[Any]]) -> Callable[[Handler], Handler]:
    """Return a decorator that subscribes a handler to ``request``, in the queue group of chat-store.

    The handler gets the decoded request, which Postgres can store (:func:`storable_json`), and returns the reply, or
    raises a :class:`StoreError`.
    """
    body_decoder = msgspec.json.Decoder(request)

    async def decode(message: NatsMessage) -> rpc.StoreRequest[Any]:
        try:
            decoded = body_decoder.decode(message.body)
            return storable_json(decoded, request) if NUL in message.body else decoded
        except UNDECODABLE as error:
            raise Invalid(f"The request does not decode: {error}") from error

    return router.subscriber(  # type: ignore[return-value]
        request.subject(),
        queue=QUEUE,
        max_workers=WORKERS,
        decoder=decode,
        title=request.VERB,
        description=(request.__doc__ or "").strip(),
    )


class ObserveRequests(BaseMiddleware[Any, Msg]):
    """Measures and traces a request, and encodes its reply."""

    async def consume_scope(self, call_next: Next, msg: StreamMessage[Msg]) -> NatsResponse:
        began = time.perf_counter()
        subject = msg.raw_message.subject
        verb = subject.removeprefix(subjects.rpc_store(""))
        with tracing.span(subject, kind="server", parent=msg.headers) as span:
            # While Postgres hangs, requests queue up, and most of their senders have given up when it is back.
            reply = _EXPIRED if has_expired(msg.raw_message) else await call_next(msg)
            code = reply.code if isinstance(reply, rpc.RpcError) else "ok"
            span.set_attribute("code", code)
        metrics.RPC_SECONDS.labels(verb, code).observe(time.perf_counter() - began)
        return NatsResponse(msgspec.json.encode(reply))


class RefuseOnError(BaseMiddleware[Any, Msg]):
    """Turns every error of a handler into an ``RpcError``, here and only here."""

    async def consume_scope(self, call_next: Next, msg: StreamMessage[Msg]) -> msgspec.Struct:
        try:
            try:
                return await call_next(msg)  # type: ignore[no-any-return]
            except Exception as error:
                # A connection that Postgres closed without the pool's notice (a restart) fails only when it is used.
                if isinstance(error, StoreError | TimeoutError) or not is_outage(error):
                    raise
                return await call_next(msg)  # type: ignore[no-any-return]
        except StoreError as error:
            return rpc.RpcError(code=error.code, message=str(error), retry_after=error.retry_after, reason=error.reason)
        except Exception as error:
            request = {"subject": msg.raw_message.subject}
            if is_outage(error):
                log.warning("Postgres failed a request: %s", describe(error), extra=request)
                away = Unavailable()
                return rpc.RpcError(code=away.code, message=str(away), retry_after=away.retry_after)
            log.exception("A request failed", extra=request)
            return rpc.RpcError(code="internal", message="Something went wrong here. It has been logged.")


MIDDLEWARES: Final[tuple[Any, ...]] = (ObserveRequests, RefuseOnError)


class StoreBroker(NatsBroker):
    """A FastStream broker on a client that is connected already; :meth:`stop` drains and closes it.

    FastStream's own connection (0.7) raises a refused password within ``error_cb``, which ends nats-py's task that
    reconnects (``docs/decisions/0030``).
    """

    def __init__(self, client: Client, *, graceful_timeout: float) -> None:
        # Dependencies are injected, arguments are not validated: `handles` has decoded the request.
        super().__init__(serializer=None, logger=None, graceful_timeout=graceful_timeout)
        self.client = client

    async def _connect(self) -> Client:
        self.config.connect(self.client)
        return self.client
