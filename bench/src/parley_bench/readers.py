"""A process of readers: a line of JSON on standard input is a command, the line on standard output its response.

``python -m parley_bench.readers``; started by :class:`parley_bench.reader_process.ReaderProcess`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import defaultdict
from typing import Any

import msgspec
import uvloop

from parley_bench.peer_readers import PEERS, PeerReader
from parley_bench.reader import KINDS, AssemblingReader, Counters, Reader
from parley_bench.statistics import percentile

_CONNECTING = 200
_DEADLINE = 120.0
_LAG_INTERVAL = 0.005


class Readers:
    """The commands: each method is one, its arguments are the line's other fields."""

    def __init__(self) -> None:
        self._counters = Counters()
        self._readers: list[Reader] = []
        self._peers: list[PeerReader] = []
        self._url = ""
        self._cpu = 0.0
        self._began = 0.0
        self._lags: list[float] = []
        self._lag_task: asyncio.Task[None] | None = None

    async def open(
        self, url: str, tickets: list[str], kind: str, chats: list[str], receive_buffer: int | None = None
    ) -> dict[str, Any]:
        """Connect one more reader per entry of ``chats``; answer when each has its first snapshot."""
        self._url = url
        added = [KINDS[kind](chat_id, self._counters, receive_buffer) for chat_id in chats]
        self._readers += added
        return await self._connect(added, tickets)

    async def ask_peer(self, peer: str, port: int, count: int, model: str, token: str = "") -> dict[str, Any]:
        """Ask a peer for so many answers at once, each over a connection of its own; count what comes."""
        self._peers = [PEERS[peer](self._counters) for _ in range(count)]
        await asyncio.gather(*(reader.ask(port, number, model, token) for number, reader in enumerate(self._peers)))
        return {}

    async def begin(self) -> dict[str, Any]:
        """Count from now on."""
        self._counters.reset()
        gc.collect()
        gc.freeze()
        self._cpu = time.process_time()
        self._began = time.monotonic()
        self._lags = []
        self._lag_task = asyncio.create_task(self._record_lag())
        return {}

    async def _record_lag(self) -> None:
        """Record the lag of this process's event loop, which is part of the delays that it measures."""
        while True:
            due = time.monotonic() + _LAG_INTERVAL
            await asyncio.sleep(_LAG_INTERVAL)
            self._lags.append(time.monotonic() - due)

    async def end(self) -> dict[str, Any]:
        """What was counted, and this process's own CPU seconds."""
        cpu = time.process_time() - self._cpu
        elapsed = time.monotonic() - self._began
        assert self._lag_task is not None
        self._lag_task.cancel()
        lags = sorted(self._lags)
        delays = sorted(self._counters.delays)
        return {
            "frames": self._counters.frames,
            "bytes": self._counters.bytes,
            "tokens": len(delays),
            "cpu": cpu,
            "core": cpu / elapsed,
            "lag": percentile(lags, 0.99) * 1000 if lags else elapsed * 1000,
            "p50": percentile(delays, 0.5) / 1e6 if delays else None,
            "p99": percentile(delays, 0.99) / 1e6 if delays else None,
            "max": delays[-1] / 1e6 if delays else None,
        }

    async def drop(self, tickets: list[str]) -> dict[str, Any]:
        """Abort all connections at once and resume from the cursors; respond when all are caught up."""
        for reader in self._readers:
            reader.socket.drop()
        await asyncio.gather(*(reader.socket.lost for reader in self._readers))
        return await self._connect(self._readers, tickets)

    async def pause(self, reader: int) -> dict[str, Any]:
        """Stop reading from a reader's socket."""
        self._readers[reader].socket.pause()
        return {}

    async def resume(self, reader: int) -> dict[str, Any]:
        self._readers[reader].socket.resume()
        return {}

    async def finished(self, seconds: float) -> dict[str, Any]:
        """Wait until every reader has received the end of an answer; return how many have."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if all(reader.finished for reader in self._readers):
                break
            await asyncio.sleep(0.05)
        return {"finished": sum(reader.finished for reader in self._readers), "readers": len(self._readers)}

    async def assembled(self) -> dict[str, Any]:
        """Return the digests of the readers' texts by chat, and how many gaps they filled."""
        digests: defaultdict[str, set[str]] = defaultdict(set)
        gaps = 0
        for reader in self._readers:
            assert isinstance(reader, AssemblingReader)
            digests[reader.chat_id].add(reader.digest)
            gaps += reader.gaps
        return {"digests": {chat_id: sorted(found) for chat_id, found in digests.items()}, "gaps": gaps}

    async def _connect(self, readers: list[Reader], tickets: list[str]) -> dict[str, Any]:
        started = time.monotonic()
        slots = asyncio.Semaphore(_CONNECTING)

        async def connect(reader: Reader, ticket: str) -> None:
            async with slots:
                await reader.connect(self._url, ticket)

        await asyncio.gather(*map(connect, readers, tickets))
        connected = time.monotonic()
        while not all(reader.caught_up_at for reader in readers):
            if time.monotonic() - started > _DEADLINE:
                lacking = sum(reader.caught_up_at is None for reader in readers)
                raise TimeoutError(f"{lacking} of {len(readers)} readers did not get a snapshot")
            await asyncio.sleep(0.01)
        times = sorted(reader.caught_up_at - started for reader in readers if reader.caught_up_at)
        return {"connected": connected - started, "p50": percentile(times, 0.5), "all": times[-1]}


async def main() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    readers = Readers()
    while line := await lines.readline():
        command = msgspec.json.decode(line)
        try:
            answer = await getattr(readers, command.pop("do"))(**command)
        except (OSError, TimeoutError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main())
