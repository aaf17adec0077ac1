"""Where a response's body ends: the bytes of a connection in, the bytes of the body out (RFC 9112 §6). No I/O."""

from collections.abc import Sequence
from typing import Final, Protocol

_MAX_LINE: Final = 8192
_HEX: Final = b"0123456789abcdefABCDEF"
_NO_BODY: Final = frozenset({204, 304})


class ProtocolViolation(Exception):
    """The server's bytes are not HTTP/1.1."""


class Body(Protocol):
    """A body in one of its framings.

    Attributes:
        done: All of it has come.
        surplus: More came than the body; the connection cannot be used again.
    """

    done: bool
    surplus: bool

    def feed(self, data: bytes) -> bytes:
        """Take what one read held and return the bytes of the body in it.

        Raises:
            ProtocolViolation
        """

    def close(self) -> bool:
        """The server closed the connection; whether the body was whole."""


def body_of(status: int, headers: Sequence[tuple[bytes, bytes]]) -> Body:
    """The body that follows a response head; header names in lower case.

    Raises:
        ProtocolViolation
    """
    if status in _NO_BODY:
        return SizedBody(0)
    length: int | None = None
    for name, value in headers:
        if name == b"transfer-encoding":
            if value.strip().lower() != b"chunked":
                raise ProtocolViolation(f"transfer-encoding {value!r}")
            return ChunkedBody()
        if name == b"content-length":
            if not value.strip().isdigit():
                raise ProtocolViolation(f"content-length {value!r}")
            length = int(value)
    return UnsizedBody() if length is None else SizedBody(length)


class SizedBody:
    """``Content-Length``."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.surplus = False

    def feed(self, data: bytes) -> bytes:
        if len(data) > self._left:
            self.surplus = True
            data = data[: self._left]
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def close(self) -> bool:
        return self.done


class UnsizedBody:
    """Up to the end of the connection."""

    def __init__(self) -> None:
        self.done = False
        self.surplus = True

    def feed(self, data: bytes) -> bytes:
        return data

    def close(self) -> bool:
        self.done = True
        return True


class ChunkedBody:
    """``Transfer-Encoding: chunked``, without extensions and trailers. A part of a chunk is given out as it came."""

    def __init__(self) -> None:
        self.done = False
        self.surplus = False
        self._rest = b""
        self._left = 0
        self._in_trailers = False

    def feed(self, data: bytes) -> bytes:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        elif not self._left and not self._in_trailers and (payload := _whole_chunk(data)) is not None:
            return payload
        position, end = 0, len(data)
        parts: list[bytes] = []
        while position < end:
            if self.done:
                self.surplus = True
                break
            if self._left > 2:  # the two that are left of a chunk are the CRLF behind it
                part = data[position : position + self._left - 2]
                parts.append(part)
                self._left -= len(part)
                position += len(part)
            elif self._left > 0:
                if data[position] != b"\r\n"[2 - self._left]:
                    raise ProtocolViolation("a chunk longer than its size")
                self._left -= 1
                position += 1
            else:
                line_end = data.find(b"\r\n", position)
                if line_end < 0:
                    self._rest = data[position:]
                    if len(self._rest) > _MAX_LINE:
                        raise ProtocolViolation("a chunk's head without an end")
                    break
                self._take_line(data[position:line_end])
                position = line_end + 2
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> bool:
        return self.done

    def _take_line(self, line: bytes) -> None:
        if self._in_trailers:
            self.done = not line
            return
        digits = line.partition(b";")[0].strip()
        # int() would also take signs, underscores and a prefix.
        if not digits or len(digits) > 15 or digits.strip(_HEX):
            raise ProtocolViolation(f"chunk size {digits[:20]!r}")
        size = int(digits, 16)
        if size == 0:
            self._in_trailers = True
        else:
            self._left = size + 2


def _whole_chunk(data: bytes) -> bytes | None:
    """The bytes of a chunk when ``data`` is just that, as nearly every read is of a server slower than we are."""
    head = data.find(b"\r\n", 0, 10)
    if head > 0 and data.endswith(b"\r\n"):
        digits = data[:head]
        if not digits.strip(_HEX) and 0 < int(digits, 16) == len(data) - head - 4:
            return data[head + 2 : -2]
    return None
