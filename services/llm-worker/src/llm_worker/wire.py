"""Core publishes for the path of a token.

``nats.aio.client.Client.publish`` costs 25 µs when the loop has one message per turn, of which the kernel's part is 5:
a future, a queue and a second task stand between it and the socket. Here the bytes go to the connection's transport at
once; uvloop puts together what one turn of the loop writes. This is the only place that looks inside nats-py (2.16;
its test says when that changes), and only for what may be lost.
"""

from collections.abc import Mapping
from typing import Any, Final

from nats.aio.client import Client

_HIGH_WATER: Final = 8 * 1024 * 1024
"""Bytes that may wait for a server that does not take them; then frames are dropped, and readers heal by a snapshot."""


class Wire:
    """At most once, in order with everything else that is published on the connection."""

    def __init__(self, nc: Client) -> None:
        self._nc: Any = nc

    def publish(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> bool:
        """Publish without waiting; whether it went out. Subject and headers must be ours: they are not checked."""
        nc = self._nc
        if not nc.is_connected:
            return False
        if headers:
            head = _head(headers)
            sizes = (subject.encode(), len(head), len(head) + len(payload))
            command = b"HPUB %b %d %d\r\n%b%b\r\n" % (*sizes, head, payload)
        else:
            command = b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload)
        if nc._pending:
            # Something published the other way waits for the flusher, which is on its way: keep the order.
            nc._pending.append(command)
            nc._pending_data_size += len(command)
            return True
        socket = nc._transport._io_writer.transport
        if socket.is_closing() or socket.get_write_buffer_size() > _HIGH_WATER:
            return False
        socket.write(command)
        return True


def _head(headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()
