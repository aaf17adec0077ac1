"""Whom a connection is counted for: its peer, or the client that a trusted proxy names."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

__all__ = ["TrustedProxies", "group_of"]

_WITH_PORT: Final = re.compile(r"\[([^\]]+)\](?::\d*)?|([\d.]+):\d*", re.ASCII)
_IPV6_CUSTOMER: Final = 64
"""A customer gets a network of this length (RFC 6177), so each of its addresses is the same client."""


class TrustedProxies:
    """The proxies whose ``X-Forwarded-For`` is believed, by network.

    Each proxy appends the address that it was called from; what stands further left is the caller's own word. So the
    list is read from the right, and the first address that is no trusted proxy is the client
    (https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For, "Selecting an IP address").
    """

    def __init__(self, networks: str) -> None:
        """Read a comma-separated list such as ``127.0.0.1, 10.0.0.0/8``.

        Raises:
            ValueError: an entry is no address and no network, or is all addresses.
        """
        self._networks = [ip_network(entry.strip(), strict=False) for entry in networks.split(",") if entry.strip()]
        for network in self._networks:
            if network.prefixlen == 0:
                raise ValueError(f"{network} is everybody: name the proxies' networks")

    def trusts(self, address: str) -> bool:
        """Whether ``address`` is one of the proxies."""
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def client(self, peer: str, forwarded_for: Sequence[str]) -> str | None:
        """Return the client's address; None when a trusted peer names none: it speaks for itself.

        Args:
            forwarded_for: The values of ``X-Forwarded-For``, in the order of the headers.
        """
        if not self.trusts(peer):
            return peer
        named: str | None = None
        for entry in reversed([entry.strip() for value in forwarded_for for entry in value.split(",")]):
            parsed = _parse(_without_port(entry))
            if parsed is None:
                break  # what stands left of it was not written by a proxy of ours
            named = str(parsed)
            if not self.trusts(named):
                break
        return named


def group_of(address: str) -> str:
    """Return what ``address`` is counted as: itself, or its network in IPv6."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, _IPV6_CUSTOMER), strict=False))
    return address if parsed is None else str(parsed)


def _without_port(entry: str) -> str:
    """Return an entry without the port that some proxies append (Azure's Application Gateway), and without brackets."""
    found = _WITH_PORT.fullmatch(entry)
    return entry if found is None else found[1] or found[2]


def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
