"""Three nats-servers that keep three copies of each stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from nats.aio.client import Client

from parley.contracts import streams
from parley.runtime.nats.connect import connect
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.ports import LOOPBACK, free_port
from parley_cli.polling import poll
from parley_cli.stack.errors import StackError
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.process import SupervisedProcess, server_spec

_NODES = 3
_STARTING = 60.0
_ASKING = 1.0


class _Node(NatsServer):
    def __init__(self, folder: Path, route: int, routes: Sequence[int]) -> None:
        super().__init__(folder)
        self._route = route
        self._routes = routes

    def settings(self) -> dict[str, object]:
        return super().settings() | {
            "server_name": self.folder.name,
            "cluster": {
                "name": "parley",
                "listen": f"{LOOPBACK}:{self._route}",
                "routes": [f"nats://{LOOPBACK}:{port}" for port in self._routes],
                "no_advertise": True,
            },
        }


class Cluster:
    """Keeps its servers running; an asynchronous context manager, entered once they agree on a leader.

    Attributes:
        processes: By name.
    """

    def __init__(self, folder: Path, log: CombinedLog) -> None:
        routes = [free_port() for _ in range(_NODES)]
        self._nodes = [_Node(folder / f"nats-{number}", route, routes) for number, route in enumerate(routes, 1)]
        self.processes = {
            node.folder.name: SupervisedProcess(
                server_spec(node, service="nats", environment={}),
                log,
                restart_delays=(0.2, 2.0),
                on_change=lambda: None,
            )
            for node in self._nodes
        }
        self._running = AsyncExitStack()
        self._nc: Client

    @property
    def url(self) -> str:
        """All servers."""
        return ",".join(node.url for node in self._nodes)

    async def __aenter__(self) -> Cluster:
        try:
            await asyncio.gather(*(process.start(deadline=_STARTING) for process in self.processes.values()))
            self._nc = await self._running.enter_async_context(connection(self.url))
            await self._wait_for_leader()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _wait_for_leader(self) -> None:
        last: Exception | None = None

        async def has_leader() -> bool:
            nonlocal last
            try:
                await self._nc.jetstream(timeout=_ASKING).account_info()
            except TRANSIENT_ERRORS as error:
                last = error
                return False
            return True

        try:
            await poll(has_leader, timeout=_STARTING, every=0.1)
        except TimeoutError:
            raise StackError(f"The nats-servers did not agree on a leader: {last!r}") from last

    async def _stop(self) -> None:
        await self._running.aclose()
        await asyncio.gather(*(process.stop() for process in self.processes.values()))

    async def leader(self) -> str | None:
        """Return the server that leads the stream CHAT; None while there is none."""
        try:
            reply = await self._nc.request(f"$JS.API.STREAM.INFO.{streams.CHAT.name}", b"", timeout=_ASKING)
        except TRANSIENT_ERRORS:
            return None
        leader = json.loads(reply.data).get("cluster", {}).get("leader")
        return leader if isinstance(leader, str) else None


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[Client]:
    """A connection to NATS for as long as the body runs."""
    nc = await connect(url, name="parley-chaos")
    try:
        yield nc
    finally:
        await nc.close()
