"""The addresses of NATS and PostgreSQL, as a setting or an option gives them."""

from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

UrlSetting: TypeAlias = Literal["NATS_URL", "DATABASE_URL"]

FORMS: Final[dict[UrlSetting, str]] = {
    "NATS_URL": "nats://USER:PASSWORD@HOST:PORT",
    "DATABASE_URL": "postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE",
}
_SCHEMES: Final[dict[UrlSetting, tuple[str, ...]]] = {
    "NATS_URL": ("nats", "tls", "ws", "wss"),
    "DATABASE_URL": ("postgresql", "postgres"),
}
_PRODUCTS: Final[dict[UrlSetting, str]] = {"NATS_URL": "NATS", "DATABASE_URL": "PostgreSQL"}
_MAX_PORT: Final = 65_535


def check_server_url(setting: UrlSetting, url: str) -> str:
    """Return ``url`` when it can be an address of the server that ``setting`` names.

    Several NATS servers are separated by commas, and ``HOST:PORT`` is enough of each. Several PostgreSQL hosts stand in
    one address; without a host it is a socket of this machine.

    Raises:
        ValueError: It cannot; the message contains the form and no password.
    """
    for one in url.split(",") if setting == "NATS_URL" else [url]:
        scheme, separator, rest = one.strip().partition("://")
        if not separator and setting == "NATS_URL" and scheme:
            rest = scheme
        elif not separator:
            raise _error(setting, f"is no address of {_PRODUCTS[setting]}")
        elif scheme.lower() not in _SCHEMES[setting] or not rest:
            raise _error(setting, f"begins with {scheme}://, which is no address of {_PRODUCTS[setting]}")
        for host in urlsplit(f"//{rest}").netloc.rpartition("@")[2].split(","):
            _check_host(setting, host)
    return url


def without_credentials(url: str) -> str:
    """Return the servers of an address for people to read: without scheme, user and password."""
    return ", ".join(server.strip().rpartition("@")[2].rpartition("://")[2] for server in url.split(","))


def _check_host(setting: UrlSetting, host: str) -> None:
    name, separator, port = host.rpartition("]") if host.startswith("[") else host.partition(":")
    port = port.removeprefix(":") if separator == "]" else port
    if setting == "NATS_URL" and not name:
        raise _error(setting, "names no host")
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) <= _MAX_PORT):
        raise _error(setting, f"names the port {port!r}, which is none: 1 to {_MAX_PORT}")


def _error(setting: UrlSetting, what: str) -> ValueError:
    return ValueError(f"{what}. It has the form {FORMS[setting]}")
