"""A process of readers, from the side of the benchmark."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import TracebackType
from typing import Any

import msgspec

from parley_cli import child_process
from parley_cli.embedded.guard import guarded


class CrewFailed(Exception):
    """The load generator could not do what it was told: there is no measurement."""


class Crew:
    """Readers in a process of their own, so that their work is nobody else's. An asynchronous context manager."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Crew:
        self._process = await child_process.start_async(
            guarded([sys.executable, "-m", "parley_bench.readers"]),
            output=subprocess.PIPE,
            stdin=subprocess.PIPE,
            stderr=sys.stderr.fileno(),
            limit=64 * 1024 * 1024,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
        """Tell it to do something, and return its answer. Raises CrewFailed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode({"do": do, **arguments}) + b"\n")
        await self._process.stdin.drain()
        line = await self._process.stdout.readline()
        answer = msgspec.json.decode(line) if line else {"error": "it ended"}
        if "error" in answer:
            raise CrewFailed(f"{do}: {answer['error']}")
        return answer
