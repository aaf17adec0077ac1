"""Server-sent events: bytes in, events out. No I/O.

By the WHATWG HTML standard, §9.2.6 "Interpreting an event stream": lines end with CR, LF or CRLF, a byte order mark may
come first, a line that starts with a colon is a comment, several ``data`` lines make one event, and an event that the
stream ends in the middle of is discarded. Events stay bytes, so it does not matter where a read cut a character.
"""

from typing import Final, NamedTuple

from llm_worker.errors import EventTooLarge

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
"""The most that may come without ending an event; a model's chunk is a few hundred bytes."""

_BOM: Final = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event; ``name`` is empty when the stream gave none."""

    name: bytes
    data: bytes


class EventDecoder:
    """Decodes one stream.

    Args:
        max_event_bytes: The size of an event from which on the stream is refused.
    """

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest = b""
        self._after_cr = False
        self._started = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Take what one read held and return the events that it completed.

        Raises:
            EventTooLarge: the stream goes on without ending an event.
        """
        if b"\r" in chunk or self._after_cr:
            chunk = self._with_line_feeds(chunk)
        if self._started and not self._rest and chunk.startswith(b"data: ") and _ends_with_first_line(chunk):
            # One whole event of one line, which is what nearly every read holds while the model is slower than we are.
            return [Event(b"", chunk[6:-2])]
        buffer = self._rest + chunk if self._rest else chunk
        if not self._started:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                self._rest = buffer
                return []
            self._started = True
            buffer = buffer.removeprefix(_BOM)
        end = buffer.rfind(b"\n\n")
        if end < 0:
            if len(buffer) > self._max_event_bytes:
                raise EventTooLarge(f"{len(buffer)} bytes without the end of an event")
            self._rest = buffer
            return []
        self._rest = buffer[end + 2 :]
        events = []
        for block in buffer[:end].split(b"\n\n"):
            if block.startswith(b"data: ") and b"\n" not in block:  # what nearly all of them look like
                events.append(Event(b"", block[6:]))
            elif (event := _event_of(block)) is not None:
                events.append(event)
        return events

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        """Turn CRLF and CR into LF; a CRLF that two reads cut apart is still one line's end."""
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
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return Event(name, b"\n".join(data)) if data else None


def _ends_with_first_line(chunk: bytes) -> bool:
    return chunk.endswith(b"\n\n") and chunk.find(b"\n") == len(chunk) - 2
