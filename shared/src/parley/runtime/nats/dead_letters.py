"""What could not be handled is kept, with the reason and the original headers, and blocks nobody."""

from nats.aio.msg import Msg
from nats.js import JetStreamContext

from parley.contracts import subjects
from parley.runtime.nats.publish import publish_durable_raw

REASON = "Parley-Dead-Reason"
SUBJECT = "Parley-Dead-Subject"
STREAM = "Parley-Dead-Stream"
SEQUENCE = "Parley-Dead-Sequence"
DELIVERIES = "Parley-Dead-Deliveries"


async def publish(js: JetStreamContext, *, consumer: str, message: Msg, reason: str, deadline: float = 10.0) -> None:
    """Copy ``message`` to the dead letters of ``consumer``; the caller acknowledges it afterwards.

    At least once, deduplicated by the message's place in its stream.

    Raises:
        BusUnavailable: the copy was not acknowledged; leave the message unacknowledged.
    """
    metadata = message.metadata
    headers = {
        **(message.headers or {}),
        # A header is one line; a reason may not be.
        REASON: " ".join(reason.split())[:500],
        SUBJECT: message.subject,
        STREAM: metadata.stream,
        SEQUENCE: str(metadata.sequence.stream),
        DELIVERIES: str(metadata.num_delivered),
    }
    await publish_durable_raw(
        js,
        subjects.dead_letter(consumer, subjects.chat_of(message.subject)),
        message.data,
        f"dead:{consumer}:{metadata.stream}:{metadata.sequence.stream}",
        deadline=deadline,
        headers=headers,
    )
