"""Core publishes for the path of a token.

``nats.aio.client.Client.publish`` costs 25 µs when the loop has one message per turn, of which the kernel's part is 5:
a future, a queue and a second task stand between it and the socket. Here what one turn of the loop publishes goes to
the connection's transport with one write. This is the only place that looks inside nats-py (2.16; its test says when
that changes), and only for what may be lost.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from nats.aio.client import Client

_HIGH_WATER: Final = 8 * 1024 * 1024
"""Bytes that may wait for a server that does not take them; then frames are dropped, and readers heal by a snapshot."""


class Wire:
    """At most once, in order among themselves; without a connection nothing is saved up."""

    def __init__(self, nc: Client) -> None:
        self._nc: Any = nc
        self._loop = asyncio.get_running_loop()
        self._turn: list[bytes] = []

    def publish(self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Publish at the end of this turn of the loop. Subject and headers must be ours: they are not checked."""
        if headers:
            head = _head(headers)
            sizes = (subject.encode(), len(head), len(head) + len(payload))
            command = b"HPUB %b %d %d\r\n%b%b\r\n" % (*sizes, head, payload)
        else:
            command = b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload)
        if not self._turn:
            self._loop.call_soon(self._flush)
        self._turn.append(command)

    def _flush(self) -> None:
        commands = b"".join(self._turn)
        self._turn.clear()
        nc = self._nc
        if not nc.is_connected:
            return
        if nc._pending:
            # What went before may be there too, and the flusher is on its way: keep the order.
            nc._pending.append(commands)
            nc._pending_data_size += len(commands)
            return
        socket = nc._transport._io_writer.transport
        if not socket.is_closing() and socket.get_write_buffer_size() <= _HIGH_WATER:
            socket.write(commands)


def _head(headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"NATS/1.0\r\n{lines}\r\n".encode()
