"""Free ports, and checks of ports."""

import errno
import os
import secrets
import socket
import sys
from collections import deque
from typing import Final

LOOPBACK = "127.0.0.1"


_RANGE = range(10_000, 32_768)
"""Below the ports that outgoing connections get: one of those could be taken before the server is there."""


_MAX_CLAIMS: Final = 128
_claims: Final = deque[int]()
"""File descriptors of the newest claims; see :func:`_claim`."""


def free_port() -> int:
    """Return a loopback port that nothing listens on now, and that no other process of Parley was given a moment ago.

    Raises:
        OSError: None was found.
    """
    for _ in range(100):
        port = secrets.choice(_RANGE)
        if is_free(port) and _claim(port):
            return port
    raise OSError(errno.EADDRINUSE, f"No free port was found on {LOOPBACK}")


def _claim(port: int) -> bool:
    """Claim a port among all processes that draw ports here: seconds can pass until its server listens.

    The claim is the name of a Unix socket, which does not disturb the server. It lasts until this process ends, or has
    drawn so many more ports. Other systems than Linux have no such names; there, nothing is claimed.
    """
    if sys.platform != "linux":
        return True
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0parley-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim.detach())
    if len(_claims) > _MAX_CLAIMS:
        os.close(_claims.popleft())
    return True


def is_free(port: int) -> bool:
    """Whether a server could listen on a loopback port; connections that linger from an earlier one do not count."""
    try:
        try_port(port, LOOPBACK)
    except OSError:
        return False
    return True


def try_port(port: int, host: str) -> None:
    """Listen on ``port`` for a moment, on every address of ``host`` that this machine has.

    Raises:
        OSError: A server could not: EADDRINUSE, EADDRNOTAVAIL, EACCES, or a ``socket.gaierror``.
    """
    elsewhere: OSError | None = None
    tried = 0
    for family, kind, protocol, _, address in _addresses(port, host):
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
                probe.listen()
            tried += 1
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            elsewhere = error  # for example `localhost` without IPv6
    if elsewhere is not None and not tried:
        raise elsewhere


def _addresses(
    port: int, host: str
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int]]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:  # a name that no host can have
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
    return found  # type: ignore[return-value]  # the third form of an address is that of a Python without IPv6


class PortSet:
    """The ports of one stack: each is drawn once."""

    def __init__(self, taken: tuple[int, ...] = ()) -> None:
        self._taken = set(taken)

    def draw(self) -> int:
        """Return a free port that was not drawn before. Raises OSError: none was found."""
        for _ in range(100):
            if (port := free_port()) not in self._taken:
                self._taken.add(port)
                return port
        raise OSError(errno.EADDRINUSE, f"No free port was found on {LOOPBACK}")
