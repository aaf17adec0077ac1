"""Addresses of clients: which proxies are believed about them, and what counts as one client. No I/O."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Networks = tuple[IPv4Network | IPv6Network, ...]

_IPV6_CLIENT_BITS = 64
"""A client of IPv6 has a whole /64 to take addresses from (RFC 6177)."""


def parse_networks(text: str) -> Networks:
    """Read networks, comma-separated; an address alone is a network of one.

    Raises:
        ValueError: one of them is not a network, or is all addresses there are.
    """
    networks = tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    for network in networks:
        if network.prefixlen == 0:
            raise ValueError(f"{network} is everybody: name the proxies' networks")
    return networks


def includes(networks: Iterable[IPv4Network | IPv6Network], address: str) -> bool:
    """Whether ``address`` is in one of ``networks``; False for what is no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def unmapped(address: str) -> str:
    """Return an IPv4 address that a socket of IPv6 shows as ``::ffff:192.0.2.1`` in its own form."""
    if not address.startswith("::ffff:"):
        return address
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return address if mapped is None else str(mapped)


def client_key(address: str) -> str:
    """Return what limits count for ``address``: itself, or of IPv6 its /64."""
    try:
        parsed = ip_address(unmapped(address))
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), _IPV6_CLIENT_BITS), strict=False))
    return str(parsed)
