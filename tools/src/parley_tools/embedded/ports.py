"""Loopback ports."""

import errno
import secrets
import socket

LOOPBACK = "127.0.0.1"


_RANGE = range(10_000, 32_768)
"""Below the ports that outgoing connections get: one of those could be taken before the server is there."""


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that nothing listens on just now, drawn so that nobody else is likely to choose it meanwhile.

    Raises:
        OSError: None was found.
    """
    for _ in range(100):
        port = secrets.choice(_RANGE)
        if is_free(port, host):
            return port
    raise OSError(errno.EADDRINUSE, f"No free port was found on {host}")


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on ``port``; connections that linger from an earlier one do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True
