"""A service that cannot listen ends with a sentence, whichever service and whichever port."""

import asyncio
import socket

import pytest

from parley_cli.embedded.ports import free_port
from tests.support.service import run_service

NOWHERE = f"nats://127.0.0.1:{free_port()}"
SETTINGS = {
    "gateway": {"NATS_URL": NOWHERE, "SECRET_KEY": "k" * 32},
    "chat_store": {"NATS_URL": NOWHERE, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"},
    "llm_worker": {"NATS_URL": NOWHERE},
    "push": {"NATS_URL": NOWHERE, "SECRET_KEY": "k" * 32},
}


@pytest.mark.parametrize("service", SETTINGS)
async def test_a_health_port_that_is_taken_is_named(service: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with run_service(service, SETTINGS[service] | {"HEALTH_PORT": port}, ready=False) as process:
            assert await asyncio.to_thread(process.wait) == 1
            assert f"Cannot listen on HEALTH_PORT {port} of 127.0.0.1" in process.log
            assert "Traceback" not in process.log


@pytest.mark.parametrize("service", ["gateway", "push"])
async def test_one_port_for_the_service_and_its_health_is_refused(service: str) -> None:
    port = str(free_port())
    settings = SETTINGS[service] | {"PORT": port, "HEALTH_PORT": port}
    async with run_service(service, settings, ready=False) as process:
        assert await asyncio.to_thread(process.wait) == 2
        assert f"HEALTH_PORT and PORT are both {port}: choose another HEALTH_PORT" in process.log
        assert "Traceback" not in process.log
