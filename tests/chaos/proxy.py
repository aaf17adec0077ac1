"""TCP proxies between the services and their servers: they delay, stall, reset and refuse connections on command."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import urlsplit, urlunsplit

_SERVERS = {"nats": "nats-server", "postgresql": "postgres", "http": "provider"}
"""By the scheme of an address."""
_HIGH_WATER = 1024 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on with zero seconds: closing sends a reset and discards what was not sent."""


class _Side(asyncio.Protocol):
    """One end of a connection. What it reads goes to its peer: in order, after the link's delay, nothing lost."""

    def __init__(self, proxy: Proxy, on_made: Callable[[_Side], None] | None = None) -> None:
        self._proxy = proxy
        self._on_made = on_made
        self.peer: _Side | None = None
        self.transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False
        self.stalled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=_HIGH_WATER)
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._on_made is not None:
            self._on_made(self)

    def data_received(self, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        due = now + self._proxy.delay
        if self._waiting:
            # Data that arrives after a delay has ended does not overtake delayed data.
            due = max(due, self._waiting[-1][0])
        self._waiting.append((due, data))
        self.pump()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self.transport = None
        if self.peer is not None and error is not None:
            self.peer.reset()
        else:
            self.pump()

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def pump(self) -> None:
        """Forward what is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.stalled or self.peer is None:
            return
        loop = asyncio.get_running_loop()
        out = self.peer.transport
        while self._waiting and self._waiting[0][0] <= loop.time():
            _, data = self._waiting.popleft()
            if out is not None:
                out.write(data)
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0][0], self.pump)
        elif self._ended and out is not None:
            # No protocol here half-closes: the end of one direction ends the connection.
            out.close()

    def reset(self) -> None:
        """Reset the connection, as a broken network does."""
        if self.transport is not None:
            if (sock := self.transport.get_extra_info("socket")) is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()


class Proxy:
    """Carries connections to ``target``; an asynchronous context manager.

    Attributes:
        name: For people, such as ``llm-worker → provider``.
        target: Host and port; set it before the first connection.
        delay: Delay of each byte in each direction, in seconds.
    """

    def __init__(self, name: str, target: tuple[str, int] | None = None) -> None:
        self.name = name
        self.target = target
        self.delay = 0.0
        self._refuses = False
        self._stalls = False
        self._clients: list[_Side] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """The number of connections now."""
        return len(self._alive())

    async def __aenter__(self) -> Proxy:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Side(self, self._accept), "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.reset()

    # --- faults ------------------------------------------------------------------------------------------------

    def reset(self, draw: random.Random | None = None) -> int:
        """Reset every connection; with ``draw`` one of them. Returns how many."""
        chosen = self._alive()
        if draw is not None and chosen:
            chosen = [draw.choice(chosen)]
        for client in chosen:
            if client.peer is not None:
                client.peer.reset()
            client.reset()
        return len(chosen)

    def refuse(self, on: bool) -> None:
        """Reset every connection, and each new one at once, until it is turned off."""
        self._refuses = on
        if on:
            self.reset()

    def stall(self, on: bool, draw: random.Random | None = None) -> None:
        """Forward nothing, as a network that drops packets; afterwards what was sent meanwhile arrives.

        With ``draw`` only one of the connections stalls, and new ones are carried.
        """
        chosen = self._alive()
        if on and draw is not None:
            chosen = [draw.choice(chosen)] if chosen else []
        else:
            self._stalls = on
        for client in chosen:
            self._set_stalled(client, on)

    # --- connections -------------------------------------------------------------------------------------------------

    def _alive(self) -> list[_Side]:
        self._clients = [client for client in self._clients if client.transport is not None]
        return self._clients

    def _accept(self, client: _Side) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, client: _Side) -> None:
        if self._refuses or self.target is None:
            client.reset()
            return
        self._clients.append(client)
        server = _Side(self)
        client.stalled = server.stalled = self._stalls
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, *self.target)
        except OSError:
            client.reset()
            return
        if client.transport is None:
            server.reset()
            return
        client.peer, server.peer = server, client
        client.pump()
        server.pump()

    def _set_stalled(self, client: _Side, on: bool) -> None:
        for side in (client, client.peer):
            if side is not None:
                side.stalled = on
                side.pump()


def proxied_address(proxies: Mapping[str, Proxy], service: str, address: str) -> str:
    """Return the address of the proxy, by its link's name, between ``service`` and ``address``, if there is one."""
    parts = urlsplit(address.partition(",")[0])
    proxy = proxies.get(f"{service} → {_SERVERS[parts.scheme]}")
    if proxy is None:
        return address
    assert parts.hostname is not None
    assert parts.port is not None
    proxy.target = parts.hostname, parts.port
    credentials = parts.netloc.rpartition("@")[0]
    place = f"127.0.0.1:{proxy.port}"
    return urlunsplit(parts._replace(netloc=f"{credentials}@{place}" if credentials else place))
