"""chat-store as a process of its own, on real servers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from parley.runtime.nats.connect import connect
from parley.runtime.nats.provision import provision
from tests.integration.chat_store.client import Neighbour
from tests.support.service import ServiceProcess, run_service

StartStore = Callable[..., ServiceProcess]


def environment(nats_url: str, database_url: str, **more: str) -> dict[str, str]:
    return {"NATS_URL": nats_url, "DATABASE_URL": database_url, "LOG_LEVEL": "DEBUG"} | more


def migrate(nats_url: str, database_url: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chat_store", "migrate"],
        env=environment(nats_url, database_url, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def shared_store(module_nats_url: str, module_database_url: str) -> Iterator[ServiceProcess]:
    """One chat-store for the tests of a module that leave it and its servers alone."""
    done = migrate(module_nats_url, module_database_url)
    assert done.returncode == 0, done.stderr
    with run_service("chat_store", environment(module_nats_url, module_database_url)) as service:
        yield service


@pytest_asyncio.fixture
async def store(shared_store: ServiceProcess, module_nats_url: str) -> AsyncIterator[Neighbour]:
    """A neighbour of :func:`shared_store`."""
    nc = await connect(module_nats_url, name="test")
    neighbour = Neighbour(nc)
    await neighbour.listen()
    try:
        yield neighbour
    finally:
        await nc.close()


@pytest_asyncio.fixture
async def start_store(nats_url: str, database_url: str) -> StartStore:
    """Describes chat-store processes on servers of this test's own; ``async with start_store(…)`` starts one."""
    nc = await connect(nats_url, name="test")
    await provision(nc)
    await nc.close()

    def start(*, tracebacks: bool = False, **more: str) -> ServiceProcess:
        return run_service("chat_store", environment(nats_url, database_url, **more), tracebacks=tracebacks)

    return start


@pytest_asyncio.fixture
async def neighbour(nats_url: str) -> AsyncIterator[Neighbour]:
    """A neighbour on the test's own nats-server."""
    nc = await connect(nats_url, name="test")
    found = Neighbour(nc)
    await found.listen()
    try:
        yield found
    finally:
        await nc.close()
