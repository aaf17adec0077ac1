"""A tool server that counts, as a process of its own, which outlives a worker that is killed."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path

import msgspec

from parley_cli.embedded.ports import free_port
from tests.support.program import Program
from tests.support.waiting import wait_until


class Counted(msgspec.Struct):
    """One run of a tool.

    Attributes:
        event: ``began``, ``ended`` or ``cancelled``.
    """

    tool: str
    step: str
    key: str
    event: str


class CountingTools(Program):
    """A running server with the tools ``count`` and ``wait``; each run of one is a line of a file.

    Args:
        folder: For its log, and the file.
    """

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._counted = folder / "counted.jsonl"
        self._counted.touch()
        super().__init__(
            "the counting tools",
            [sys.executable, "-m", "tests.support.counting_tool_server", str(self._port), str(self._counted)],
            os.environ,
            folder / "counting-tools.log",
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/mcp"

    def counted(self, event: str = "began") -> list[Counted]:
        """What was run, the oldest first."""
        runs = [msgspec.json.decode(line, type=Counted) for line in self._counted.read_text().splitlines()]
        return [run for run in runs if run.event == event]

    def forget(self) -> None:
        """Count from nothing."""
        self._counted.write_text("")

    def wait_ready(self) -> None:
        wait_until(self._listens, deadline=60, what="the counting tools listening")

    def end(self, *, failed: bool) -> None:
        self.kill()

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return True
        return False
