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
class Letter:
    """A message that a consumer gave up on.

    Attributes:
        number: Its place among the dead letters: what commands name it by.
        consumer: The durable consumer that could not handle it.
        subject: Where it was published; None when the letter does not say.
        deliveries: How often it had been tried.
        headers: Those it was published with, without its message id and without what the dead letters add.
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
        """The body as JSON when it is that, else as text with what is not text escaped."""
        try:
            return msgspec.json.decode(self.body)
        except UNDECODABLE:
            return self.body.decode("utf-8", "backslashreplace")

    @property
    def replay_id(self) -> str:
        """The message id it is sent again with.

        New to the server, which forgets the original's only after a while; the same each time for this letter, so
        that a replay cut off between sending and removing does not send it twice.
        """
        return f"replay:{self.number}:{int(self.died_at.timestamp() * 1e6)}"


def read(message: RawStreamMsg) -> Letter:
    """Read a message of the stream DEAD_LETTERS."""
    assert message.subject is not None  # the server names all three for a stored message
    assert message.seq is not None
    assert message.time is not None
    headers: dict[str, str] = message.headers or {}
    return Letter(
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
