"""The cost of a bare write on this machine now: the lower bound of the cost of a delivered frame."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

_SOCKETS = 100
_ROUNDS = 40
_BYTES = 300


def bare_write() -> float:
    """CPU microseconds of a ``send`` of 300 bytes over loopback TCP, which includes their arrival at the other side."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=_SOCKETS))
        pairs = []
        for _ in range(_SOCKETS):
            reader = opened.enter_context(socket.create_connection(listener.getsockname()))
            writer = opened.enter_context(listener.accept()[0])
            writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pairs.append((reader, writer))
        data = bytes(_BYTES)
        spent = 0.0
        for _ in range(_ROUNDS):
            started = time.process_time()
            for _, writer in pairs:
                writer.send(data)
            spent += time.process_time() - started
            for reader, _ in pairs:
                reader.recv(2 * _BYTES)
    return spent / _ROUNDS / _SOCKETS * 1e6
