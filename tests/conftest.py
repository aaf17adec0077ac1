"""Real servers for all tests, each started when the first test asks for it.

PostgreSQL runs once per test process, with a fresh database per test; nats-server starts in 50 ms, so every test has
its own. Fixtures that begin with ``module_`` are the same for one module.
"""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.postgres import PostgresServer
from tests.support.databases import Databases
from tests.support.demo_model import DemoModelProcess


def pytest_configure() -> None:
    """Programs under test inherit ignored signals: `nohup` and background jobs of a shell ignore some."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _log_levels() -> Iterator[None]:
    """A command of ``parley`` silences its libraries, and so does a test that runs one in its process: undone here."""
    loggers = [logging.getLogger(name) for name in ("parley", "nats")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """A PostgreSQL server that makes databases."""
    folder = tmp_path_factory.mktemp("postgres")
    server = PostgresServer(folder, password="test", fsync=False)
    with server:
        yield Databases(server, folder)


@pytest.fixture
def database_url(databases: Databases) -> str:
    """A database of this test's own, with chat-store's schema."""
    return databases.migrated()


@pytest.fixture(scope="module")
def module_database_url(databases: Databases) -> str:
    """A database of this module's own, with chat-store's schema."""
    return databases.migrated()


@pytest.fixture
def empty_database_url(databases: Databases) -> str:
    """A database of this test's own with nothing in it."""
    return databases.empty()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A nats-server of this test's own, without streams. ``kill()`` and ``start()`` it at will."""
    server = NatsServer(tmp_path / "nats")
    with server:
        yield server


@pytest.fixture
def nats_url(nats_server: NatsServer) -> str:
    """The address of :func:`nats_server`."""
    return nats_server.url


@pytest.fixture(scope="module")
def module_nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A nats-server of this module's own, without streams."""
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    with server:
        yield server


@pytest.fixture(scope="module")
def module_nats_url(module_nats_server: NatsServer) -> str:
    """The address of :func:`module_nats_server`."""
    return module_nats_server.url


@pytest.fixture(scope="session")
def demo_model_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoModelProcess]:
    """The demo model as a process, one for all tests; tell your streams apart by their prompts."""
    with DemoModelProcess(tmp_path_factory.mktemp("demo-model")) as process:
        yield process


@pytest.fixture
def demo_model(demo_model_process: DemoModelProcess) -> str:
    """Its base URL, for ``OPENAI_BASE_URL``."""
    return demo_model_process.url
