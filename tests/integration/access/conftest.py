"""The services on real servers, one of each per module."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from parley.contracts import rpc, subjects
from parley.runtime.nats.connect import connect
from parley.runtime.nats.provision import provision
from parley_cli.embedded.ports import free_port
from tests.integration.access.scene import AUDIENCE, ISSUER, ISSUER_KEY, KEY, Scene, create_scene
from tests.integration.chat_store.client import Neighbour
from tests.support.service import ServiceProcess, run_service


@pytest.fixture(scope="module")
def chat_store(module_nats_url: str, module_database_url: str) -> Iterator[ServiceProcess]:
    async def provisioned() -> None:
        nc = await connect(module_nats_url, name="provision")
        await provision(nc)
        await nc.close()

    asyncio.run(provisioned())
    with run_service("chat_store", {"NATS_URL": module_nats_url, "DATABASE_URL": module_database_url}) as service:
        yield service


@pytest.fixture(scope="module")
def push(module_nats_url: str) -> Iterator[ServiceProcess]:
    environment = {"NATS_URL": module_nats_url, "SECRET_KEY": KEY, "PORT": str(free_port())}
    with run_service("push", environment) as service:
        yield service


@pytest.fixture(scope="module")
def gateway(module_nats_url: str, chat_store: ServiceProcess, push: ServiceProcess) -> Iterator[ServiceProcess]:
    environment = {
        "NATS_URL": module_nats_url,
        "SECRET_KEY": KEY,
        "PUSH_URL": f"ws://127.0.0.1:{push.environment['PORT']}/ws",
        "AUTH_MODES": "guest,jwt",
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
        "JWT_KEY": ISSUER_KEY,
        "JWT_ALGORITHMS": "HS256",
        "SHARED_PER_SECOND": "0",
        # What a cell gets depends on who asks, and not on how busy this machine is.
        "RPC_SECONDS": "20",
        "PUBLISH_SECONDS": "20",
    }
    with run_service("gateway", environment) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(chat_store: ServiceProcess, module_nats_url: str) -> AsyncIterator[Neighbour]:
    """What the services around chat-store do, a worker included."""

    async def list_models(message: Msg) -> None:
        await message.respond(msgspec.json.encode(rpc.ModelList(items=["demo"], default="demo")))

    nc = await connect(module_nats_url, name="test")
    await nc.subscribe(subjects.RPC_MODELS_LIST, cb=list_models)
    neighbour = Neighbour(nc)
    await neighbour.listen()
    try:
        yield neighbour
    finally:
        await nc.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(store: Neighbour) -> Scene:
    """The scene of all cells that change nothing."""
    created = await create_scene(store)
    await created.answer()
    await created.queue()
    return created
