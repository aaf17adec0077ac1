"""Whether JetStream can be used for what a service needs: its streams, its consumers, and the right to publish."""

from dataclasses import dataclass
from typing import Final

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext, api
from nats.js.api import PubAck

from parley.contracts import subjects
from parley.contracts.streams import CHAT, ConsumerSpec, StreamSpec
from parley.runtime.nats.errors import TRANSIENT_ERRORS, NotProvisioned
from parley.runtime.nats.requirements import check_consumer, check_stream

NOT_STORED: Final = {"Nats-Expected-Stream": "parley-probe"}
"""Headers of a message that its stream's leader refuses to store, which says that it would take another one."""

NOBODY: Final = "00000000-0000-0000-0000-000000000000"
"""Of a chat that does not exist."""

ANSWER_TIMEOUT: Final = 2.0
"""Seconds that JetStream has for one answer."""

_OTHER_STREAM: Final = 10060
"""The server's code of an error: the stream is not the expected one."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a service needs of JetStream.

    Attributes:
        publishes: A subject of each kind that it publishes; nothing is stored by the check.
    """

    streams: tuple[StreamSpec, ...] = ()
    consumers: tuple[ConsumerSpec, ...] = ()
    publishes: tuple[str, ...] = ()


class StreamWrites:
    """Whether the stream CHAT stores what is published; checked only after a publish that failed.

    A nats-server whose disk was full goes on answering for its streams and stores nothing until it is restarted. Only
    storing a message shows it.
    """

    def __init__(self) -> None:
        self._has_failed = False

    def failed(self) -> None:
        """A durable publish was not acknowledged."""
        self._has_failed = True

    def worked(self) -> None:
        """A durable publish was acknowledged."""
        self._has_failed = False

    async def problem(self, nc: Client) -> str | None:
        """After a failure, store a message that nobody reads; return a sentence when that fails, too."""
        if not self._has_failed:
            return None
        try:
            await write(nc.jetstream(timeout=ANSWER_TIMEOUT))
        except TRANSIENT_ERRORS as error:
            return unwritable(error)
        self._has_failed = False
        return None


async def check(nc: Client, needs: Needs) -> str | None:
    """Return a sentence about the first thing that is missing, or None. Stores nothing.

    A lost connection is not reported here: the client logs it.
    """
    if not nc.is_connected:
        return None
    js = nc.jetstream(timeout=ANSWER_TIMEOUT)
    looking_at = "JetStream"
    try:
        for stream in needs.streams:
            looking_at = f"the stream {stream.name}"
            if (problem := fullness(await check_stream(js, stream))) is not None:
                return problem
        for consumer in needs.consumers:
            looking_at = f"the consumer {consumer.name}"
            await check_consumer(js, consumer)
    except NotProvisioned as error:
        return str(error)
    except TRANSIENT_ERRORS as error:
        return _no_answer(nc, looking_at, error)
    for subject in needs.publishes:
        if (problem := await _publish_problem(nc, subject)) is not None:
            return problem
    return None


async def write(js: JetStreamContext) -> PubAck:
    """Store one message in CHAT that no consumer takes. Raises one of ``TRANSIENT_ERRORS``."""
    return await js.publish(subjects.WRITE_PROBE, b"")


def unwritable(error: BaseException) -> str:
    """A sentence about an error of :func:`write`."""
    return (
        f"NATS does not store messages in the stream {CHAT.name} ({said(error)}). Is its disk full? Once there is "
        "space again, restart nats-server: it does not recover from that by itself."
    )


def fullness(info: api.StreamInfo) -> str | None:
    """A sentence when a stream has reached a limit at which it refuses messages."""
    config, state = info.config, info.state
    if config.discard != api.DiscardPolicy.NEW:
        return None
    limits = (("max_bytes", config.max_bytes, state.bytes), ("max_msgs", config.max_msgs, state.messages))
    for name, limit, used in limits:
        # A message is refused when it would not fit; of one that fits barely, nobody can say.
        if limit is not None and limit > 0 and used >= limit * (0.999 if name == "max_bytes" else 1):
            return (
                f"The stream {config.name} is full ({name} is {limit}) and refuses messages. Raise the limit "
                f"(nats stream edit {config.name}), or see why what is in it is not old enough to go."
            )
    return None


async def _publish_problem(nc: Client, subject: str) -> str | None:
    try:
        await nc.jetstream(timeout=ANSWER_TIMEOUT).publish(subject, b"", headers=NOT_STORED)
    except nats.js.errors.APIError as error:
        if error.err_code == _OTHER_STREAM:
            return None
        return f"NATS takes nothing on {subject}: {said(error)}."
    except TRANSIENT_ERRORS as error:
        return _no_answer(nc, f"what is published on {subject}", error)
    return None


def _no_answer(nc: Client, what: str, error: BaseException) -> str:
    refused = str(nc.last_error or "")
    if "permissions violation" in refused.lower() and isinstance(error, TimeoutError | nats.errors.TimeoutError):
        return (
            f"NATS does not answer about {what}: the user of NATS_URL lacks a right. Render the server's users anew "
            "(deploy/nats/README.md) and let it read them: nats-server --signal reload."
        )
    return f"JetStream does not answer about {what} ({said(error)}): is most of the cluster up, and its disk writable?"


def said(error: BaseException) -> str:
    """What is wrong, in a few words."""
    if isinstance(error, nats.js.errors.APIError) and error.description:
        return error.description
    match error:
        case nats.js.errors.ServiceUnavailableError() | nats.errors.NoRespondersError():
            return "JetStream is not available"
        case TimeoutError() | nats.errors.TimeoutError():
            return "no answer in time"
        case _:
            return str(error) or type(error).__name__
