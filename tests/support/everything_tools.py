"""The reference server of the Model Context Protocol: npm's ``server-everything``, over streamable HTTP."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from parley_cli.embedded.ports import free_port
from tests.support.node import NODE
from tests.support.program import Program
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"

ON_LOOPBACK = """
import net from "node:net";
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, { port: Number(port), host: "127.0.0.1" }, ...rest);
};
"""
"""It has no setting for its address, and would listen on all of them."""


class EverythingTools(Program):
    """The running server.

    Args:
        folder: For its log, and a module that it loads.
    """

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        preload = folder / "on-loopback.mjs"
        preload.write_text(ON_LOOPBACK)
        super().__init__(
            "the everything server",
            [NODE, "--import", preload.as_uri(), str(PROGRAM), "streamableHttp"],
            {**os.environ, "PORT": str(self._port)},
            folder / "everything.log",
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/mcp"

    def wait_ready(self) -> None:
        wait_until(self._listens, deadline=60, what="the everything server listening")

    def end(self, *, failed: bool) -> None:
        self.kill()
        if failed:
            print(f"--- log of the everything server ---\n{self.log[-5_000:]}")

    def _listens(self) -> bool:
        assert self.process.poll() is None, f"the everything server ended:\n{self.log}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
            return True
        return False
