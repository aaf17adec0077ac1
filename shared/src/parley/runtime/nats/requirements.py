"""The streams and consumers that a service binds to, checked before it starts and while it runs."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import StreamInfo

from parley.contracts.streams import ConsumerSpec, StreamSpec
from parley.runtime.nats.errors import TRANSIENT_ERRORS, NotProvisioned

log = logging.getLogger(__name__)

_CHECK_INTERVAL: Final = 0.25


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
        while True:
            try:
                for stream in streams:
                    await check_stream(js, stream)
                for consumer in consumers:
                    await check_consumer(js, consumer)
                return
            except TRANSIENT_ERRORS as error:
                # A server that has just started does not answer for JetStream yet.
                log.debug("Streams and consumers cannot be checked yet: %r", error)
            await asyncio.sleep(_CHECK_INTERVAL)

    await until_migrated(check, NotProvisioned, seconds=wait)


async def until_migrated(check: Callable[[], Awaitable[None]], not_yet: type[Exception], *, seconds: float) -> None:
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
        await asyncio.sleep(_CHECK_INTERVAL)


async def check_stream(js: JetStreamContext, stream: StreamSpec) -> StreamInfo:
    """Return the state of the stream.

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
