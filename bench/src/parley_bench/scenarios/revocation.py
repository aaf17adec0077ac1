"""A user signs out: from the request to the end of the sockets and event streams, over three push processes."""

from __future__ import annotations

import asyncio
import time

from parley.contracts.frames import CloseCode
from parley.contracts.ids import new_id
from parley_bench.bench_stack import BenchStack, ask, http_client
from parley_bench.scenario import NoMeasurement, OnProgress, Sample, Size, Table
from parley_bench.socket import RawSocket
from parley_bench.statistics import percentile

_TIMES = 100
_PROCESSES = 3
_SOCKETS, _STREAMS = 9, 9
"""Of one session: the kernel spreads them over the processes, which share a port."""
_DEADLINE = 60.0


async def revocation(size: Size, on_progress: OnProgress) -> Table:
    """Measure."""
    table = Table("A revoked session")
    sockets: list[float] = []
    streams: list[float] = []
    processes: set[int] = set()
    async with BenchStack(replicas={"push": _PROCESSES}) as bench:
        times = size.of(_TIMES)
        for number in range(times):
            session = _Session(bench)
            await session.open()
            processes |= await _processes_with_sockets(bench)
            closed = await session.sign_out(table)
            sockets += closed[0]
            streams += closed[1]
            on_progress(f"revocation, {number + 1} of {times}: longest {max(map(max, closed)):.3f}")
    sample: Sample = {
        "socket, p50": (percentile(sorted(sockets), 0.5), "s"),
        "socket, longest": (max(sockets), "s"),
        "stream, p50": (percentile(sorted(streams), 0.5), "s"),
        "stream, longest": (max(streams), "s"),
        "processes": (float(len(processes)), ""),
    }
    table.add(f"{times} sessions with {_SOCKETS} sockets and {_STREAMS} streams each", [sample])
    table.notes.append(
        "From `DELETE /v1/session` to the closed socket (4410) or the end of the stream, which the gateway forwards; "
        "'processes': the push processes that had some of them."
    )
    return table


class _Session:
    """A new guest's session, with sockets and event streams on one chat."""

    def __init__(self, bench: BenchStack) -> None:
        self._bench = bench
        self._http = http_client(bench.stack.url)
        self._sockets: list[RawSocket] = []
        self._streams: list[asyncio.Task[float]] = []
        self._ready = 0

    async def open(self) -> None:
        """Begin the session, and open everything. Raises NoMeasurement."""
        token = (await ask(self._http, "POST", "/v1/session", {}))["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        chat_id = new_id()
        await ask(self._http, "POST", "/v1/chats", {"id": chat_id})
        for _ in range(_SOCKETS):
            ticket = (await ask(self._http, "POST", "/v1/push-ticket", {}))["ticket"]
            first = [{"type": "auth", "ticket": ticket}, {"type": "watch", "chat_id": chat_id, "after": None}]
            socket = RawSocket(first, self._on_frame)
            await socket.connect(self._bench.stack.push_url)
            self._sockets.append(socket)
        for _ in range(_STREAMS):
            self._streams.append(asyncio.create_task(self._read_stream(chat_id)))
        ends = time.monotonic() + _DEADLINE
        while self._ready < _SOCKETS + _STREAMS:
            if time.monotonic() > ends:
                raise NoMeasurement(f"{self._ready} of {_SOCKETS + _STREAMS} connections had a snapshot")
            await asyncio.sleep(0.01)

    async def sign_out(self, table: Table) -> tuple[list[float], list[float]]:
        """Sign out, and return after how many seconds each socket and each stream ended."""
        closing = [asyncio.create_task(_closed(socket)) for socket in self._sockets]
        began = time.monotonic()
        await ask(self._http, "DELETE", "/v1/session", {})
        try:
            async with asyncio.timeout(_DEADLINE):
                sockets, streams = await asyncio.gather(*closing), await asyncio.gather(*self._streams)
        except TimeoutError:
            raise NoMeasurement(f"a connection outlived its session by {_DEADLINE:g} s") from None
        await self._http.close()
        codes = {socket.lost.result() for socket in self._sockets}
        if codes != {CloseCode.SESSION_ENDED}:
            table.failures.append(f"sockets were closed with {codes}")
        return [at - began for at in sockets], [at - began for at in streams]

    def _on_frame(self, frame: bytes) -> None:
        self._ready += b'"type":"snapshot"' in frame

    async def _read_stream(self, chat_id: str) -> float:
        """Read a stream to its end; return when that was."""
        seen = False
        async with self._http.get(f"/v1/chats/{chat_id}/stream") as response:
            async for data in response.content.iter_any():
                if not seen and b'"type":"snapshot"' in data:
                    seen = True
                    self._ready += 1
        return time.monotonic()


async def _closed(socket: RawSocket) -> float:
    await socket.lost
    return time.monotonic()


async def _processes_with_sockets(bench: BenchStack) -> set[int]:
    return {
        number
        for number in range(1, _PROCESSES + 1)
        if (await bench.metrics(f"push-{number}")).get("parley_push_sockets", 0) > 0
    }
