"""A password that NATS refuses: every service says what to do, and waits."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat_store.rpc.routing import StoreBroker
from parley.contracts.access import permissions
from parley.runtime.nats.connect import connect
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.ports import free_port
from tests.support.service import run_service
from tests.support.waiting import eventually

SERVICES = ("gateway", "chat-store", "llm-worker", "push")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    folder: Path = tmp_path_factory.mktemp("nats")
    server = NatsServer(folder, passwords={each.user: "right" for each in permissions.USERS})
    with server:
        yield server


async def test_a_broker_outlives_a_password_that_is_refused_for_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    right, wrong = ({each.user: password for each in permissions.USERS} for password in ("right", "wrong"))
    server = NatsServer(tmp_path, passwords=right)
    with server:
        client = await connect(server.url_of("chat-store"), name="test")
        broker = StoreBroker(client, graceful_timeout=1)
        await broker.start()
        other = NatsServer(tmp_path, passwords=wrong, port=server.port)
        await asyncio.to_thread(server.stop)
        with other:
            await eventually(lambda: "refuses" in caplog.text, deadline=40)
        await asyncio.to_thread(server.start)
        await eventually(lambda: client.is_connected)
        await broker.stop()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_refused_password_is_reported_with_what_to_do_and_waited_out(
    server: NatsServer, empty_database_url: str, service: str
) -> None:
    settings = {
        "NATS_URL": server.url_of(service).replace("right", "wrong"),
        "DATABASE_URL": empty_database_url,
        "SECRET_KEY": "k" * 32,
        "HOST": "127.0.0.1",
        "PORT": str(free_port()),
        "PUSH_URL": "ws://127.0.0.1:1/ws",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    }
    async with run_service(service.replace("-", "_"), settings, ready=False) as process:
        sentence = f"NATS at 127.0.0.1:{server.port} refuses the user or the password ({service}). Set NATS_URL"
        await eventually(lambda: sentence in process.log, deadline=40, what="the refusal in the log")
        await eventually(lambda: process.returncode is None and process.get("/readyz")[0] == 503)
        assert "wrong@" not in process.log
