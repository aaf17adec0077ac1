"""Fresh databases on one server, copied from a migrated template."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg

from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.postgres import PostgresServer

_TEMPLATE = "migrated"


class Databases:
    """Makes databases; dropping them is left to the end of the server.

    Attributes:
        server: Stop, kill and start it at will, as long as it runs again afterwards.
    """

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.server = server
        self._folder = folder
        self._numbers = itertools.count(1)
        self._migrated = False

    def empty(self) -> str:
        """Return the URL of a new database with nothing in it."""
        return self._create(f"empty_{next(self._numbers)}", "template1")

    def migrated(self) -> str:
        """Return the URL of a new database with chat-store's schema."""
        if not self._migrated:
            self._migrate(self._create(_TEMPLATE, "template1"))
            self._migrated = True
        return self._create(f"test_{next(self._numbers)}", _TEMPLATE)

    def _create(self, name: str, template: str) -> str:
        async def create() -> None:
            connection = await asyncpg.connect(self.server.url)
            try:
                await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
            finally:
                await connection.close()

        _run_apart(create)
        return self.server.url_of(name)

    def _migrate(self, url: str) -> None:
        with NatsServer(self._folder / "nats-for-migration") as nats:
            subprocess.run(
                [sys.executable, "-m", "chat_store", "migrate"],
                env={"DATABASE_URL": url, "NATS_URL": nats.url},
                check=True,
                timeout=60,
            )


def _run_apart(function: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run a coroutine to its end, whether or not this thread has a running event loop."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(function())).result()
