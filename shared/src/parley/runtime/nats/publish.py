"""Durable publishing: at least once, deduplicated by the server within the stream's window."""

import asyncio
import logging
import time
from collections.abc import Mapping

import msgspec
import nats.errors
from nats.js import JetStreamContext
from nats.js.api import PubAck

from parley.contracts import subjects
from parley.contracts.events import Event, GenerationFinished, GenerationRequested, GenerationSegment, PromptSubmitted
from parley.runtime import tracing
from parley.runtime.backoff import Backoff
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable

log = logging.getLogger(__name__)

MSG_ID = "Nats-Msg-Id"


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
    """Publish ``event`` to its stream and return once the server has stored it; the acknowledgement names its sequence.

    At least once, deduplicated by the event's id within the stream's window: an attempt whose outcome is unknown is
    retried with the same id.

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
    backoff = Backoff(0.05, 1.0)
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
        except TRANSIENT_ERRORS as error:
            log.debug("Publishing %s again: %r", msg_id, error)
        await asyncio.sleep(min(backoff.next_delay(), max(0.0, ends - time.monotonic())))
