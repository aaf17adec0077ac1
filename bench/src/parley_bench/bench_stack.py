"""A stack to measure, with one user without limits."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from parley.contracts.ids import new_id
from parley.contracts.resources import Message
from parley_bench.meter import CpuMeter
from parley_bench.reader import digest
from parley_bench.reader_process import ReaderProcess
from parley_bench.scenario import until
from parley_cli.child_process import base_environment
from parley_cli.demo_model.stats import Snapshot
from parley_cli.stack import probe
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.options import StackOptions
from parley_cli.stack.stack import Stack

_CONCURRENT_REQUESTS = 8

_SETTINGS: Mapping[str, Mapping[str, str]] = {
    # All requests are those of one user, and one worker generates all answers.
    "gateway": {"WRITES_PER_SECOND": "0", "GUESTS_PER_SECOND": "0"},
    "push": {"MAX_SOCKETS_PER_USER": "100000", "MAX_CHATS_PER_USER": "100000"},
    "llm-worker": {"MAX_GENERATIONS": "4000"},
}


class BenchStack:
    """One process of each service, the embedded servers, the demo model. An asynchronous context manager.

    Args:
        replicas: Processes by service, where there are several.

    Attributes:
        token: The user's access token.
    """

    def __init__(self, replicas: Mapping[str, int] | None = None) -> None:
        self._replicas = replicas or {}
        self._cleanup = AsyncExitStack()
        self._http: aiohttp.ClientSession
        self.stack: Stack
        self.token: str

    async def __aenter__(self) -> BenchStack:
        folder = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="parley-bench-")))
        log = self._cleanup.enter_context((folder / "stack.log").open("w"))
        options = StackOptions(
            folder=folder,
            port=0,
            push_port=0,
            replicas=self._replicas,
            environment=_SETTINGS,
            inherited=base_environment() | {"LOG_LEVEL": "WARNING"},
        )
        self.stack = await self._cleanup.enter_async_context(Stack(options, CombinedLog(log, colour=False)))
        self._http = await self._cleanup.enter_async_context(http_client(self.stack.url))
        self.token = (await self.ask("POST", "/v1/session", {}))["access_token"]
        self._http.headers["Authorization"] = f"Bearer {self.token}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    # --- actions of the user ------------------------------------------------------------------------------------------

    async def open_readers(self, process: ReaderProcess, kind: str, chats: Sequence[str], **options: object) -> None:
        """Connect one more reader of ``process`` per entry of ``chats``; return when each has its first snapshot."""
        tickets = await self.tickets(len(chats))
        await process.ask("open", url=self.stack.push_url, tickets=tickets, kind=kind, chats=chats, **options)

    async def tickets(self, count: int) -> list[str]:
        """Create tickets: each opens one socket within a minute."""
        return [str((await self.ask("POST", "/v1/push-ticket", {}))["ticket"]) for _ in range(count)]

    async def chats(self, count: int) -> list[str]:
        """Create chats."""
        made = [new_id() for _ in range(count)]
        await self._each([("POST", "/v1/chats", {"id": chat_id}) for chat_id in made])
        return made

    async def prompts(self, chats: Sequence[str], model: str) -> None:
        """Send one message to each chat, as fast as the gateway takes them."""
        await self._each(
            [("POST", f"/v1/chats/{chat_id}/messages", {"content": "go", "model": model}) for chat_id in chats]
        )

    async def stop(self, chats: Sequence[str]) -> None:
        """Stop what runs in the chats, and wait until nothing runs."""
        await self._each([("POST", f"/v1/chats/{chat_id}/stop", {}) for chat_id in chats])
        await self.all_run(0)

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send JSON as the user, return JSON. Raises aiohttp.ClientResponseError: the status is not 2xx."""
        return await ask(self._http, method, path, body)

    async def _each(self, requests: list[tuple[str, str, object]]) -> None:
        waiting = iter(requests)

        async def work() -> None:
            for request in waiting:
                await self.ask(*request)

        await asyncio.gather(*(work() for _ in range(_CONCURRENT_REQUESTS)))

    async def digest(self, chat_id: str) -> str:
        """Return the digest of the chat's stored messages."""
        page = await self.ask("GET", f"/v1/chats/{chat_id}/messages?limit=100")
        return digest(msgspec.convert(page["items"], list[Message]))

    # --- measurements -------------------------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        """Return the id of the stack's process of that name."""
        pid = self.stack.processes[name].pid
        assert pid is not None
        return pid

    def meter(self) -> CpuMeter:
        """Return a meter of every process of the stack."""
        return CpuMeter({name: self.pid(name) for name in self.stack.processes})

    async def all_run(self, count: int) -> None:
        """Wait until ``count`` answers are streaming. Raises NoMeasurement."""

        async def enough() -> bool:
            return await self.running() == count

        await until(enough, 60 + count / 10, f"{count} answers running")

    async def running(self) -> int:
        """How many answers the worker is streaming."""
        return int((await self.metrics("llm-worker")).get("parley_llm_worker_running_answers", 0))

    async def model(self) -> Snapshot:
        """The statistics of the demo model."""
        port = self.stack.processes["demo-model"].spec.port
        assert port is not None
        return msgspec.json.decode((await probe.get(port, "/stats"))[1], type=Snapshot)

    async def metrics(self, name: str) -> dict[str, float]:
        """A process's Prometheus metrics, by name and labels."""
        port = self.stack.processes[name].spec.health_port
        assert port is not None
        lines = (await probe.get(port, "/metrics"))[1].splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {series: float(value) for series, _, value in pairs}


def http_client(url: str) -> aiohttp.ClientSession:
    """Return a client of the gateway without cookies and without a limit of connections."""
    return aiohttp.ClientSession(
        url,
        raise_for_status=True,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=0),
    )


async def ask(http: aiohttp.ClientSession, method: str, path: str, body: object) -> Any:
    """Send JSON, return JSON. Raises aiohttp.ClientResponseError: the status is not 2xx."""
    async with http.request(method, path, json=body) as response:
        return await response.json(content_type=None)
