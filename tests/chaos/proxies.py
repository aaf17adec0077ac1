"""The proxies between the services and their dependencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from urllib.parse import urlsplit, urlunsplit

from tests.chaos.plan import LINKS
from tests.chaos.proxy import Proxy

_SERVERS = {"nats": "nats-server", "postgresql": "postgres", "http": "provider"}


class Proxies:
    """One proxy for each link; an asynchronous context manager.

    Attributes:
        proxies: By the link's name.
    """

    def __init__(self, links: Sequence[str] = LINKS) -> None:
        self.proxies: Mapping[str, Proxy] = {link: Proxy(link) for link in links}
        self._cleanup = AsyncExitStack()

    async def __aenter__(self) -> Proxies:
        for proxy in self.proxies.values():
            await self._cleanup.enter_async_context(proxy)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    def address_for(self, service: str, address: str) -> str:
        """Return the address of the proxy between ``service`` and ``address``, if there is one."""
        parts = urlsplit(address.partition(",")[0])
        proxy = self.proxies.get(f"{service} → {_SERVERS[parts.scheme]}")
        if proxy is None:
            return address
        assert parts.hostname is not None
        assert parts.port is not None
        proxy.target = parts.hostname, parts.port
        credentials = parts.netloc.rpartition("@")[0]
        place = f"127.0.0.1:{proxy.port}"
        return urlunsplit(parts._replace(netloc=f"{credentials}@{place}" if credentials else place))
