"""The benchmark's side of a reader process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import msgspec

from parley_cli import child_process
from parley_cli.embedded.guard import guarded


class ReaderProcessError(Exception):
    """The load generator failed a command: there is no measurement."""


class ReaderProcess:
    """A process with readers, whose CPU time is measured separately. An asynchronous context manager."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> ReaderProcess:
        self._process = await child_process.start_async(
            guarded([sys.executable, "-m", "parley_bench.readers"]),
            output=subprocess.PIPE,
            stdin=subprocess.PIPE,
            stderr=sys.stderr.fileno(),
            limit=64 * 1024 * 1024,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            await child_process.kill(self._process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, do: str, **arguments: object) -> Any:
        """Send a command and return its response. Raises ReaderProcessError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode({"do": do, **arguments}) + b"\n")
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        answer = msgspec.json.decode(line) if line else {"error": "it ended"}
        if "error" in answer:
            raise ReaderProcessError(f"{do}: {answer['error']}")
        return answer

    async def count(self, seconds: float) -> Any:
        """Return what the readers receive within so many seconds. Raises ReaderProcessError."""
        await self.ask("begin")
        await asyncio.sleep(seconds)
        return await self.ask("end")
