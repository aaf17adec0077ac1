"""Which pages may open a socket.

A socket is authenticated by a ticket that a page of another origin cannot get, so this is a second line: it keeps
strange pages from opening sockets at all. Programs send no ``Origin`` and pass.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit


def _host(netloc: str) -> str | None:
    try:
        return urlsplit(f"//{netloc}").hostname
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Origins:
    """The allowed origins: the host that was asked for, and those named, or, when none is, this machine."""

    def __init__(self, allowed: str) -> None:
        """Read a comma-separated list, such as ``https://chat.example.org``; ``*`` allows all."""
        self._allowed = frozenset(origin.strip().rstrip("/").lower() for origin in allowed.split(",") if origin.strip())

    def cors(self, origin: str) -> str | None:
        """Return what ``Access-Control-Allow-Origin`` names for a page of ``origin``; None: it may not read."""
        if origin.lower() in self._allowed:
            return origin
        return "*" if "*" in self._allowed else None

    def allow(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of ``origin`` may connect to ``host`` (the ``Host`` header)."""
        if origin is None or self.cors(origin) is not None:
            return True
        scheme, _, netloc = origin.partition("://")
        name = _host(netloc)
        if scheme not in ("http", "https") or name is None:
            return False
        asked = _host(host) if host is not None else None
        # One machine has several names for itself.
        own = asked is not None and _is_loopback(asked)
        return name == asked or (_is_loopback(name) and (own or not self._allowed))
