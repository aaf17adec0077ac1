"""Talking to NATS: connecting, durable publishing, requests, and the check that what we bind to is there."""

import asyncio
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import DEFAULT_INBOX_PREFIX, Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import PubAck, StreamInfo

from parley.contracts import subjects
from parley.contracts.events import (
    GenerationFinished,
    GenerationRequested,
    GenerationSegment,
    PromptSubmitted,
)
from parley.contracts.permissions import inbox_prefix
from parley.contracts.rpc import RpcError
from parley.contracts.streams import ConsumerSpec, StreamSpec
from parley.runtime import tracing
from parley.runtime.nats.client import ReconnectingClient
from parley.runtime.nats.connection_log import ConnectionLog

log = logging.getLogger(__name__)

T = TypeVar("T")
Event = PromptSubmitted | GenerationRequested | GenerationSegment | GenerationFinished
Hook = Callable[[], Awaitable[None]]

MSG_ID = "Nats-Msg-Id"

TIMEOUT: Final = "Parley-Timeout"
"""Header of a request: how many seconds its sender waits for the reply. One that arrived longer ago is not answered."""

_CHECK_AGAIN: Final = 0.25

_TOKEN = re.compile(r"[\w-]+", re.ASCII)
"""What can be one token of a subject."""


TROUBLE: Final = (TimeoutError, OSError, RuntimeError, nats.errors.Error, nats.js.errors.Error)
"""What any call of the NATS client may raise while the connection is away.

The RuntimeError is uvloop's, for a write to a socket that it has closed and whose loss the client has not noticed yet.
"""


class BusUnavailable(Exception):
    """NATS, or whoever should answer over it, did not answer in time. What was sent may still arrive."""


class NoResponder(BusUnavailable):
    """Nobody listens on the subject."""


class RpcRefused(Exception):
    """The request arrived and was refused; fields as in :class:`parley.contracts.rpc.RpcError`."""

    def __init__(self, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after


class NotProvisioned(Exception):
    """A stream or consumer that we need is missing or differs. The text says what to do."""


def connect_options(
    url: str,
    name: str,
    *,
    on_closed: Hook | None = None,
    on_disconnected: Hook | None = None,
    on_reconnected: Hook | None = None,
    on_error: Callable[[Exception], Awaitable[None]] | None = None,
) -> dict[str, Any]:
    """Return the options of a connection that reconnects for ever, for a client and for ``NatsBroker``.

    A connection that is closed all the same (a refused password, say) will not come back by itself: ``on_closed``
    must end the process, so that its supervisor starts it again.

    With a user in ``url``, replies arrive in an inbox that only this user may read
    (:mod:`parley.contracts.permissions`).

    Args:
        on_error: Instead of a line in the log.
    """
    servers = [server.strip() for server in url.split(",") if server.strip()]
    lines = ConnectionLog(servers)

    async def closed() -> None:
        lines.closed()
        if on_closed is not None:
            await on_closed()

    async def disconnected() -> None:
        lines.lost()
        if on_disconnected is not None:
            await on_disconnected()

    async def reconnected() -> None:
        lines.back()
        if on_reconnected is not None:
            await on_reconnected()

    async def failed(error: Exception) -> None:
        if on_error is not None:
            await on_error(error)
        else:
            lines.failed(error)

    user = next((parts.username for parts in map(urlsplit, servers) if parts.username and parts.password), "")
    return {
        "servers": servers,
        "name": name,
        "inbox_prefix": inbox_prefix(user) if _TOKEN.fullmatch(user) else DEFAULT_INBOX_PREFIX,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.25,
        "connect_timeout": 2,
        "ping_interval": 5,
        "max_outstanding_pings": 2,
        "pending_size": 64 * 1024 * 1024,
        "closed_cb": closed,
        "disconnected_cb": disconnected,
        "reconnected_cb": reconnected,
        "error_cb": failed,
    }


def use_client(broker: Any, options: Mapping[str, Any]) -> None:
    """Let a FastStream broker connect as :func:`connect` does, with ``options``.

    Its own way (0.7) makes nats-py's client, and wraps ``error_cb`` in one that raises a refused password within it:
    the task that connects ends with that, at the start of a process with a traceback, later silently and for ever.
    """

    async def connected() -> Client:
        client = await _connected(options)
        broker.config.connect(client)
        return client

    broker._connect = connected


async def connect(
    url: str,
    *,
    name: str,
    on_closed: Hook | None = None,
    on_disconnected: Hook | None = None,
    on_reconnected: Hook | None = None,
    on_error: Callable[[Exception], Awaitable[None]] | None = None,
) -> Client:
    """Connect to NATS; waits while no server answers yet."""
    return await _connected(
        connect_options(
            url,
            name,
            on_closed=on_closed,
            on_disconnected=on_disconnected,
            on_reconnected=on_reconnected,
            on_error=on_error,
        )
    )


async def _connected(options: Mapping[str, Any]) -> Client:
    client = ReconnectingClient()
    await client.connect(**options)
    return client


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


async def settled(nc: Client) -> None:
    """Return once the server has handled all that was sent, and what it said of that was received.

    nats-py writes the PING of a flush ahead of what is still pending; so it is the second one that says so.
    """
    await nc.flush()
    await nc.flush()


def subject_of(event: Event) -> str:
    """Return the subject that the event is published on."""
    match event:
        case PromptSubmitted():
            return subjects.prompt_submitted(event.chat_id)
        case GenerationRequested():
            return subjects.generation_requested(event.chat_id)
        case GenerationSegment():
            return subjects.generation_segment(event.chat_id)
        case GenerationFinished():
            return subjects.generation_finished(event.chat_id)


async def publish_durable(
    js: JetStreamContext,
    event: Event,
    *,
    deadline: float,
    msg_id: str | None = None,
    trace: Mapping[str, str] | None = None,
) -> PubAck:
    """Publish ``event`` to its stream and return once the server has stored it; the answer says where.

    At least once, deduplicated by the event's id within the stream's window: an attempt whose outcome is unknown is
    made again with the same id.

    Args:
        deadline: Seconds after which to give up.
        msg_id: Instead of the event's id, for an event that the stream knows and whose consumer does not.
        trace: Headers that carry the span it belongs to; by default the current one.

    Raises:
        BusUnavailable: no acknowledgement came in time. The event may still have been stored.
    """
    subject = subject_of(event)
    payload = msgspec.json.encode(event)
    headers = {**tracing.inject(), **(trace or {})}
    return await publish_durable_raw(js, subject, payload, msg_id or event.id, deadline=deadline, headers=headers)


async def publish_durable_raw(
    js: JetStreamContext,
    subject: str,
    payload: bytes,
    msg_id: str,
    *,
    deadline: float,
    headers: dict[str, str] | None = None,
) -> PubAck:
    """As :func:`publish_durable`, for a body that is encoded already."""
    ends = time.monotonic() + deadline
    pause = 0.05
    while True:
        left = ends - time.monotonic()
        if left <= 0:
            raise BusUnavailable(f"no acknowledgement of {msg_id} within {deadline:g} s")
        try:
            return await js.publish(
                subject, payload, timeout=min(left, 2.0), headers={**(headers or {}), MSG_ID: msg_id}
            )
        except nats.errors.MaxPayloadError:
            raise
        except TROUBLE as error:
            log.debug("Publishing %s again: %r", msg_id, error)
        await asyncio.sleep(min(pause * random.uniform(0.5, 1.0), max(0.0, ends - time.monotonic())))
        pause = min(pause * 2, 1.0)


async def request(nc: Client, subject: str, body: Any, reply_type: type[T], *, timeout: float) -> T:
    """Send a request over core NATS and decode the reply.

    At most once: on ``BusUnavailable`` the request may have been carried out.

    Raises:
        RpcRefused: the answer was an :class:`RpcError`.
        NoResponder: nobody listens.
        BusUnavailable: no answer within ``timeout`` seconds, or no connection.
    """
    try:
        message = await nc.request(
            subject,
            msgspec.json.encode(body),
            timeout=timeout,
            headers={**tracing.inject(), TIMEOUT: f"{timeout:.3f}"},
        )
    except nats.errors.NoRespondersError as error:
        raise NoResponder(subject) from error
    except TROUBLE as error:
        raise BusUnavailable(f"{subject}: {error!r}") from error
    reply = msgspec.json.decode(message.data, type=reply_type | RpcError)  # type: ignore[arg-type,operator,unused-ignore]
    if isinstance(reply, RpcError):
        raise RpcRefused(reply.code, reply.message, reply.retry_after)
    return reply  # type: ignore[no-any-return,unused-ignore]


async def require(
    js: JetStreamContext,
    *,
    streams: tuple[StreamSpec, ...] = (),
    consumers: tuple[ConsumerSpec, ...] = (),
    wait: float = 0.0,
) -> None:
    """Return when each stream and consumer is there as declared; waits while JetStream does not answer.

    Args:
        wait: Seconds to wait for a migration that runs meanwhile.

    Raises:
        NotProvisioned: one is missing, or differs in what we rely on.
    """

    async def check() -> None:
        for stream in streams:
            await _until_answered(stream.name, check_stream, js, stream)
        for consumer in consumers:
            await _until_answered(consumer.name, check_consumer, js, consumer)

    await until_migrated(check, NotProvisioned, seconds=wait)


async def until_migrated(
    check: Callable[[], Awaitable[None]], not_yet: type[Exception] | tuple[type[Exception], ...], *, seconds: float
) -> None:
    """Return when ``check`` passes; while it raises ``not_yet``, check again for ``seconds``, then raise that."""
    ends = time.monotonic() + seconds
    warned = False
    while True:
        try:
            await check()
            return
        except not_yet as error:
            if time.monotonic() >= ends:
                raise
            if not warned:
                log.warning("Waiting up to %g s for the migration: %s", seconds, error)
                warned = True
        await asyncio.sleep(_CHECK_AGAIN)


async def _until_answered(
    name: str, check: Callable[[JetStreamContext, T], Awaitable[object]], js: JetStreamContext, spec: T
) -> None:
    while True:
        try:
            await check(js, spec)
            return
        except TROUBLE as error:
            # A server that has just started does not answer for JetStream yet.
            log.debug("%s cannot be checked yet: %r", name, error)
        await asyncio.sleep(_CHECK_AGAIN)


async def check_stream(js: JetStreamContext, stream: StreamSpec) -> StreamInfo:
    """Return what the server says of the stream.

    Raises:
        NotProvisioned: it is missing, or takes less than we publish.
    """
    try:
        info = await js.stream_info(stream.name)
    except nats.js.errors.NotFoundError as error:
        raise NotProvisioned(f"The stream {stream.name} does not exist. Run `parley migrate`.") from error
    missing = set(stream.subjects) - set(info.config.subjects or ())
    if missing:
        raise NotProvisioned(
            f"The stream {stream.name} does not take {', '.join(sorted(missing))}. Run `parley migrate`."
        )
    return info


async def check_consumer(js: JetStreamContext, consumer: ConsumerSpec) -> None:
    """Raises: NotProvisioned: it is missing, or takes other messages."""
    try:
        config = (await js.consumer_info(consumer.stream, consumer.name)).config
    except nats.js.errors.NotFoundError as error:
        raise NotProvisioned(
            f"The consumer {consumer.name} of {consumer.stream} does not exist. Run `parley migrate`."
        ) from error
    if config.filter_subject != consumer.filter_subject:
        raise NotProvisioned(
            f"The consumer {consumer.name} filters {config.filter_subject}, not "
            f"{consumer.filter_subject}. Run `parley migrate`."
        )
