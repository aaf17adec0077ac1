"""The pending messages of the streams: acknowledged to their senders, and not yet in Postgres."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from parley.contracts.events import GenerationFinished
from parley.contracts.ids import is_id
from parley.contracts.streams import (
    AUDIT,
    CHAT,
    CHAT_STORE_FINISHED,
    CHAT_STORE_PROMPTS,
    CONSUMERS,
    DEAD_LETTERS,
    STREAMS,
)
from parley.runtime.nats.publish import MSG_ID, publish_durable_raw
from parley_cli.backup.archive import StoredMessage
from parley_cli.backup.errors import BackupError

_PAGE: Final = 256
_TIMEOUT: Final = 10.0
_DEADLINE: Final = 30.0
_OURS: Final = (CHAT_STORE_PROMPTS, CHAT_STORE_FINISHED)
"""The consumers whose messages end in Postgres. chat-store makes requests of answers again from Postgres."""
_RESTORED: Final = tuple(stream for stream in STREAMS if stream is not AUDIT)
"""The streams that a restore makes anew; the audit goes on."""


async def unprocessed(js: JetStreamContext) -> list[StoredMessage]:
    """Prompts and ends of answers that chat-store has not acknowledged, in the stream's order.

    Some may be acknowledged, since acknowledgements come out of order. Processing is idempotent.
    """
    found: list[StoredMessage] = []
    for consumer in _OURS:
        # The consumer before the stream: what it acknowledges in between is read without need.
        info = await js.consumer_info(consumer.stream, consumer.name)
        last = (await js.stream_info(consumer.stream)).state.last_seq
        floor = info.ack_floor.stream_seq if info.ack_floor is not None else 0
        found += [message async for message in _read(js, consumer.stream, consumer.filter_subject, floor, last)]
    return sorted(found, key=lambda message: message.seq)


async def dead_letters(js: JetStreamContext) -> list[StoredMessage]:
    """Return all dead letters, oldest first."""
    last = (await js.stream_info(DEAD_LETTERS.name)).state.last_seq
    return [message async for message in _read(js, DEAD_LETTERS.name, DEAD_LETTERS.subjects[0], 0, last)]


def kind_of(message: StoredMessage) -> str:
    """``stream: event`` for counting."""
    event = "letter" if message.stream == DEAD_LETTERS.name else ".".join(message.subject.split(".")[2:])
    return f"{message.stream}: {event}"


def ended_attempts(messages: list[StoredMessage]) -> list[tuple[str, int]]:
    """The generations, and the attempts, whose end is among the messages."""
    ended = []
    for message in messages:
        if message.stream == CHAT.name and message.subject.endswith(".generation.finished"):
            # One that does not decode becomes a dead letter, as it would have.
            with contextlib.suppress(msgspec.DecodeError):
                event = msgspec.json.decode(message.data, type=GenerationFinished)
                if is_id(event.generation_id):
                    ended.append((event.generation_id, event.attempt))
    return ended


async def publish(js: JetStreamContext, message: StoredMessage) -> None:
    """Publish a message to its stream again.

    At least once, deduplicated by its original id. Raises: BusUnavailable.
    """
    headers = dict(message.headers)
    msg_id = headers.pop(MSG_ID, f"restored:{message.stream}:{message.seq}")
    await publish_durable_raw(js, message.subject, message.data, msg_id, deadline=_DEADLINE, headers=headers)


async def message_counts(js: JetStreamContext) -> dict[str, int]:
    """Return the number of messages of each existing stream."""
    counts = {}
    for stream in _RESTORED:
        with contextlib.suppress(nats.js.errors.NotFoundError):
            counts[stream.name] = (await js.stream_info(stream.name)).state.messages
    return counts


async def active_consumer(js: JetStreamContext) -> str | None:
    """Return the name of a consumer from which a service is fetching, if any."""
    for consumer in CONSUMERS:
        with contextlib.suppress(nats.js.errors.NotFoundError):
            if (await js.consumer_info(consumer.stream, consumer.name)).num_waiting:
                return consumer.name
    return None


async def delete_streams(js: JetStreamContext) -> int:
    """Delete all streams that exist, consumers and deduplication included; return their number of replicas."""
    replicas = 1
    for stream in _RESTORED:
        with contextlib.suppress(nats.js.errors.NotFoundError):
            replicas = max(replicas, (await js.stream_info(stream.name)).config.num_replicas or 1)
            await js.delete_stream(stream.name)
    return replicas


async def _read(js: JetStreamContext, stream: str, subject: str, after: int, last: int) -> AsyncIterator[StoredMessage]:
    """Yield the messages of ``subject`` from ``after`` (exclusive) to ``last``."""
    if last <= after:
        return
    subscription = await js.pull_subscribe(
        subject,
        stream=stream,
        config=ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            inactive_threshold=30.0,
            mem_storage=True,
        ),
    )
    try:
        left = (await subscription.consumer_info()).num_pending or 0
        while left > 0:
            try:
                messages = await subscription.fetch(min(left, _PAGE), timeout=_TIMEOUT)
            except (nats.errors.Error, TimeoutError) as error:
                raise BackupError(f"NATS stopped delivering the messages of {stream}: {error!r}") from error
            left -= len(messages)
            for message in messages:
                stored = _stored(stream, message)
                if stored.seq > last:
                    return
                yield stored
    finally:
        await subscription.unsubscribe()


def _stored(stream: str, message: Msg) -> StoredMessage:
    metadata = message.metadata
    return StoredMessage(
        stream=stream,
        seq=metadata.sequence.stream,
        subject=message.subject,
        time=metadata.timestamp,
        headers=dict(message.headers or {}),
        data=message.data,
    )
