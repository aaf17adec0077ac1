"""One dead letter, as :func:`parley.runtime.nats.dead_letters.publish` wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec
from nats.js.api import RawStreamMsg

from parley.contracts.decoding import UNDECODABLE
from parley.runtime.nats import dead_letters
from parley.runtime.nats.publish import MSG_ID

_OURS = {
    name.lower()
    for name in (
        dead_letters.REASON,
        dead_letters.SUBJECT,
        dead_letters.STREAM,
        dead_letters.SEQUENCE,
        dead_letters.DELIVERIES,
        MSG_ID,
    )
}


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message that a consumer could not process.

    Attributes:
        number: Its sequence number in the stream DEAD_LETTERS, by which commands select it.
        consumer: The durable consumer that could not process it.
        subject: The original subject; None when the headers do not contain it.
        deliveries: The number of delivery attempts.
        headers: The original headers, without the message id.
    """

    number: int
    consumer: str
    died_at: datetime
    reason: str
    subject: str | None
    stream: str | None
    sequence: int | None
    deliveries: int | None
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> object:
        """The body decoded from JSON, else as text with undecodable bytes escaped."""
        try:
            return msgspec.json.decode(self.body)
        except UNDECODABLE:
            return self.body.decode("utf-8", "backslashreplace")

    @property
    def replay_id(self) -> str:
        """The message id for the replay.

        Not the original id, which the server may still deduplicate; the same at each replay of this dead letter, so
        that a replay interrupted between publishing and removing does not publish it twice.
        """
        return f"replay:{self.number}:{int(self.died_at.timestamp() * 1e6)}"


def read(message: RawStreamMsg) -> DeadLetter:
    """Read a message of the stream DEAD_LETTERS."""
    assert message.subject is not None  # the server names all three for a stored message
    assert message.seq is not None
    assert message.time is not None
    headers: dict[str, str] = message.headers or {}
    return DeadLetter(
        number=message.seq,
        consumer=message.subject.removeprefix("dead.").partition(".")[0],
        died_at=message.time,
        reason=headers.get(dead_letters.REASON, ""),
        subject=headers.get(dead_letters.SUBJECT),
        stream=headers.get(dead_letters.STREAM),
        sequence=_number(headers.get(dead_letters.SEQUENCE)),
        deliveries=_number(headers.get(dead_letters.DELIVERIES)),
        headers={name: value for name, value in headers.items() if name.lower() not in _OURS},
        body=message.data or b"",
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
