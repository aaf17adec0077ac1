"""A gateway as a process, one per module, with a fake chat-store and a fake push for each test."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import msgspec
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from parley.contracts import rpc, subjects
from parley.contracts.events import PromptSubmitted
from parley.contracts.streams import CHAT
from parley.runtime.nats.connect import connect, wait_until_processed
from parley.runtime.nats.provision import provision
from parley_cli.embedded.ports import free_port
from tests.integration.gateway.fake_push import FakePush
from tests.support.chat_store.fake import FakeStore
from tests.support.service import ServiceProcess, run_service

KEY = "integration-key-of-the-gateway-tests-0001"


@dataclass(frozen=True)
class Running:
    """The module's gateway."""

    url: str
    push_port: int
    process: ServiceProcess


def environment(nats_url: str, push_port: int, **more: str) -> dict[str, str]:
    """What a gateway of these tests needs."""
    return {
        "NATS_URL": nats_url,
        "SECRET_KEY": KEY,
        "PUSH_URL": f"ws://127.0.0.1:{push_port}/ws",
        "RPC_SECONDS": "2",
        "PUBLISH_SECONDS": "2",
        "LOG_LEVEL": "DEBUG",
        **more,
    }


def provisioned(nats_url: str) -> None:
    """Create the streams, as ``parley migrate`` does."""

    async def run() -> None:
        nc = await connect(nats_url, name="provision")
        await provision(nc)
        await nc.close()

    asyncio.run(run())


@pytest.fixture(scope="module")
def gateway(module_nats_url: str) -> Iterator[Running]:
    provisioned(module_nats_url)
    push_port = free_port()
    with run_service("gateway", environment(module_nats_url, push_port)) as process:
        yield Running(process.health_url, push_port, process)


@asynccontextmanager
async def store_on(url: str) -> AsyncIterator[tuple[Client, FakeStore]]:
    nc = await connect(url, name="test")
    try:
        async with FakeStore(nc) as store:
            yield nc, store
    finally:
        await nc.close()


@asynccontextmanager
async def gateway_alone(nats_url: str) -> AsyncIterator[tuple[FakePush, FakeStore, ServiceProcess, "User"]]:
    """A gateway that a test may end, with a push and a chat-store of its own, and a guest."""
    await asyncio.to_thread(provisioned, nats_url)
    push_port = free_port()
    async with (
        FakePush(KEY, push_port) as push,
        store_on(nats_url) as (_, store),
        run_service("gateway", environment(nats_url, push_port)) as process,
        signed_in(process.health_url) as user,
    ):
        yield push, store, process, user


@pytest.fixture
async def nc(module_nats_url: str) -> AsyncIterator[Client]:
    client = await connect(module_nats_url, name="test")
    yield client
    await client.close()


@dataclass
class Models:
    """A worker that lists its models."""

    asked: int = 0

    async def reply(self, message: Msg) -> None:
        self.asked += 1
        await message.respond(msgspec.json.encode(rpc.ModelList(items=["demo", "demo-fast"], default="demo")))


@asynccontextmanager
async def models_on(nc: Client) -> AsyncIterator[Models]:
    models = Models()
    subscription = await nc.subscribe(subjects.RPC_MODELS_LIST, "llm-worker", cb=models.reply)
    await wait_until_processed(nc)
    yield models
    await subscription.unsubscribe()
    await wait_until_processed(nc)


@pytest.fixture
async def models(nc: Client) -> AsyncIterator[Models]:
    async with models_on(nc) as models:
        yield models


@pytest.fixture
async def store(nc: Client, models: Models) -> AsyncIterator[FakeStore]:
    async with FakeStore(nc) as store:
        yield store


@pytest.fixture
async def push(gateway: Running) -> AsyncIterator[FakePush]:
    async with FakePush(KEY, gateway.push_port) as push:
        yield push


class User:
    """Somebody with a session, by bearer token."""

    def __init__(self, http: httpx.AsyncClient, user_id: str, token: str) -> None:
        self.http = http
        self.id = user_id
        self.token = token

    async def new_chat(self) -> str:
        answer = await self.http.post("/v1/chats", json={})
        assert answer.status_code == 201, answer.text
        chat_id: str = answer.json()["id"]
        return chat_id


@asynccontextmanager
async def signed_in(url: str) -> AsyncIterator[User]:
    """A new guest."""
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, verify=False) as http:
        session = (await http.post("/v1/session", json={})).json()
        http.cookies.clear()
        http.headers["authorization"] = f"Bearer {session['access_token']}"
        yield User(http, session["user_id"], session["access_token"])


@pytest.fixture
async def user(gateway: Running, store: FakeStore) -> AsyncIterator[User]:
    async with signed_in(gateway.url) as user:
        yield user


@pytest.fixture
async def other(gateway: Running, store: FakeStore) -> AsyncIterator[User]:
    async with signed_in(gateway.url) as user:
        yield user


async def prompts_of(nc: Client, chat_id: str) -> list[PromptSubmitted]:
    """All prompts of a chat that the stream holds, in order."""
    js = nc.jetstream()
    state = (await js.stream_info(CHAT.name)).state
    prompts = []
    for sequence in range(state.first_seq, state.last_seq + 1):
        message = await js.get_msg(CHAT.name, sequence)
        if message.subject == f"chat.{chat_id}.prompt.submitted":
            assert message.data is not None
            prompts.append(msgspec.json.decode(message.data, type=PromptSubmitted))
    return prompts
