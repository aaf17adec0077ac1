"""Fixtures: a harness, and workers connected to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from parley.runtime.nats.connect import connect
from parley.runtime.nats.provision import provision
from parley_cli.embedded.nats import NatsServer
from tests.integration.llm_worker.harness import Harness, start_harness
from tests.support.demo_model import DemoModelProcess
from tests.support.service import ServiceProcess, run_service

ACK_WAIT = 3.0
"""Seconds; short, so that takeovers are."""

StartWorker = Callable[..., ServiceProcess]


@pytest.fixture
async def harness(nats_server: NatsServer) -> AsyncIterator[Harness]:
    """A provisioned server of this test's own, with a fake chat-store and a reader."""
    async with start_harness(nats_server.url, ack_wait=ACK_WAIT) as built:
        yield built


@pytest.fixture
def worker(nats_server: NatsServer, demo_model: str) -> StartWorker:
    """``async with worker(TOKEN_TIMEOUT="1"):`` a worker on that server whose provider is the demo model."""

    def start(**settings: str) -> ServiceProcess:
        return _worker(nats_server.url, demo_model, **settings)

    return start


@pytest.fixture(scope="module")
def shared_worker(module_nats_url: str, demo_model_process: DemoModelProcess) -> Iterator[ServiceProcess]:
    """A worker for all tests of a module that need nothing special."""
    with run_worker(module_nats_url, demo_model_process.url) as process:
        yield process


@pytest.fixture
async def shared(shared_worker: ServiceProcess, module_nats_url: str) -> AsyncIterator[Harness]:
    """The harness around :func:`shared_worker`."""
    async with start_harness(module_nats_url, ack_wait=ACK_WAIT) as built:
        yield built


@contextlib.contextmanager
def run_worker(nats_url: str, demo_model: str, **settings: str) -> Iterator[ServiceProcess]:
    """A worker for a whole module, on a server that is provisioned for it."""

    async def prepare() -> None:
        nc = await connect(nats_url, name="test-provision")
        await provision(nc, ack_wait=ACK_WAIT)
        await nc.close()

    with ThreadPoolExecutor(1) as apart:
        apart.submit(lambda: asyncio.run(prepare())).result()
    with _worker(nats_url, demo_model, **settings) as process:
        yield process


def _worker(nats_url: str, demo_model: str, **settings: str) -> ServiceProcess:
    defaults = {"NATS_URL": nats_url, "OPENAI_BASE_URL": demo_model, "ANY_MODEL": "true", "SHUTDOWN_GRACE": "0.5"}
    return run_service("llm_worker", {**defaults, **settings})
