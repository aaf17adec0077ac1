"""Server-sent events: bytes in, events out. No I/O.

By the WHATWG HTML standard, §9.2.6 "Interpreting an event stream": lines end with CR, LF or CRLF, a byte order mark may
come first, a line that starts with a colon is a comment, and several ``data`` lines make one event. Two deviations: an
event that the stream ends in is returned by :meth:`EventDecoder.close`, because many servers leave out the last empty
line, and a line that starts with a brace is data, because some write an error without the field's name. Events stay
bytes, so a read may end within a character.
"""

from typing import Final

import msgspec

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""The most that one event may hold; a model's chunk is a few hundred bytes."""

_BOM: Final = b"\xef\xbb\xbf"
_CR: Final = ord("\r")
_LF: Final = ord("\n")
"""Numbers: Python finds a number in bytes ten times as fast as bytes in bytes."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event; ``name`` is empty when the stream gave none."""

    name: bytes
    data: bytes


class EventDecoder:
    """Decodes one stream.

    Args:
        max_event_bytes: The largest event that is decoded.

    Attributes:
        overflowed: An event was larger than that. The events before it were returned; no later ones are.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._buffer: list[bytes] = []
        self._buffer_bytes = 0
        self._after_cr = False
        self._started = False
        self.overflowed = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Decode the bytes of one read and return the events that it completed."""
        if self.overflowed:
            return []
        if _CR in chunk or self._after_cr:
            chunk = self._with_line_feeds(chunk)
        size = len(chunk) - 2
        is_line = chunk.find(_LF) == size and chunk.endswith(b"\n\n") and chunk.startswith(b"data: ")
        if is_line and self._started and not self._buffer and size <= self._max_event_bytes:
            # One whole event of one line: nearly every read while the model is slower than this process.
            return [Event(b"", chunk[6:size])]
        if not chunk:
            return []
        blocks = chunk.split(b"\n\n")
        if len(blocks) == 1 and not (self._buffer and chunk.startswith(b"\n") and self._buffer[-1].endswith(b"\n")):
            # Buffered in parts: to join them at each read would cost the square of a large event's size.
            self._append(chunk)
            return self._overflow() if self._is_too_large() else []
        if self._buffer:
            blocks = b"".join([*self._buffer, chunk]).split(b"\n\n")
            self._buffer.clear()
            self._buffer_bytes = 0
        if not self._started:
            self._started = True
            blocks[0] = blocks[0].removeprefix(_BOM)
        last = blocks.pop()
        events = self._events_of(blocks)
        if not self.overflowed and last:
            self._append(last)
            if self._is_too_large():
                self._overflow()
        return events

    def close(self) -> list[Event]:
        """End the stream and return the event that it ended in, if any."""
        rest, self._buffer = b"".join(self._buffer), []
        if self.overflowed or not rest:
            return []
        if not self._started:
            rest = rest.removeprefix(_BOM)
        event = _event_of(rest)
        return [] if event is None else [event]

    def _events_of(self, blocks: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for block in blocks:
            if len(block) > self._max_event_bytes:
                self._overflow()
                break
            if block.startswith(b"data: ") and _LF not in block:  # what nearly all of them look like
                events.append(Event(b"", block[6:]))
            elif (event := _event_of(block)) is not None:
                events.append(event)
        return events

    def _append(self, chunk: bytes) -> None:
        self._buffer.append(chunk)
        self._buffer_bytes += len(chunk)

    def _is_too_large(self) -> bool:
        # A line break may be the first half of the event's end, and is no part of the event then.
        return self._buffer_bytes - self._buffer[-1].endswith(b"\n") > self._max_event_bytes

    def _overflow(self) -> list[Event]:
        self.overflowed = True
        self._buffer.clear()
        self._buffer_bytes = 0
        return []

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        """Turn CRLF and CR into LF; a CRLF that two reads cut apart is still one line break."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if chunk:
            self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _event_of(block: bytes) -> Event | None:
    """The event that the lines of ``block`` make; None when they hold no data."""
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        if line.startswith(b"{"):
            data.append(line)
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return Event(name, b"\n".join(data)) if data else None
