"""chat-store has all the rights on the bus that it needs, and uses no other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from nats.aio.client import Client

from parley.contracts import ids, rpc, subjects
from parley.contracts.events import GenerationRequested
from parley.contracts.streams import LLM_WORKER_REQUESTS
from parley.runtime.nats.connect import connect
from parley.runtime.nats.publish import publish_durable
from parley.runtime.nats.pull import PullConsumer
from parley.runtime.nats.requests import ask
from parley_cli.embedded.nats import NatsServer
from tests.integration.chat_store.client import finished, prompt
from tests.integration.chat_store.conftest import environment, migrate
from tests.support.bus_passwords import random_passwords
from tests.support.service import run_service
from tests.support.waiting import eventually


@contextlib.asynccontextmanager
async def connected(server: NatsServer, user: str) -> AsyncIterator[Client]:
    nc = await connect(server.url_of(user), name=user)
    try:
        yield nc
    finally:
        await nc.close()


async def test_all_that_it_does_is_allowed_to_its_user(tmp_path: Path, database_url: str) -> None:
    server = NatsServer(tmp_path / "nats", passwords=random_passwords())
    server.start()
    try:
        done = await asyncio.to_thread(migrate, server.url_of("migrate"), database_url)
        assert done.returncode == 0, done.stderr
        settings = environment(server.url_of("chat-store"), database_url, ORPHAN_AFTER="1")
        async with (
            connected(server, "gateway") as gateway,
            connected(server, "llm-worker") as worker,
            connected(server, "push") as push,
            connected(server, "operator") as operator,
            run_service("chat_store", settings) as store,
        ):
            pull = PullConsumer(worker, LLM_WORKER_REQUESTS, batch=1)
            await _turn(gateway, worker, push, operator, pull)
            await _running_chat(gateway)
            forget = asyncio.create_task(_forget(pull))
            await eventually(lambda: 'kind="without_owner"' in store.get("/metrics")[1], deadline=30)
            forget.cancel()
            stopping = await _running_chat(gateway)
            await asyncio.to_thread(store.kill)
            store.start()
            await asyncio.to_thread(store.wait_ready)
            await ask(gateway, rpc.Stop(user_id="ann", chat_id=stopping), timeout=10)
        assert "Violation" not in server.log_file.read_text()
    finally:
        server.stop()


async def _running_chat(gateway: Client) -> str:
    chat_id = ids.new_id()
    await ask(gateway, rpc.CreateChat(user_id="ann", chat_id=chat_id), timeout=10)
    await publish_durable(gateway.jetstream(), prompt(chat_id), deadline=10)
    return chat_id


async def _forget(pull: PullConsumer) -> None:
    """As a worker with free slots that takes requests and loses them."""
    while True:
        for message in await pull.next_batch():
            await message.ack()


async def _turn(gateway: Client, worker: Client, push: Client, operator: Client, pull: PullConsumer) -> None:
    """A whole turn, and a dead letter."""
    await operator.jetstream().publish(subjects.prompt_submitted(ids.new_id()), b"damaged")
    changed = await push.subscribe("live.*.changed")
    chat_id = await _running_chat(gateway)
    (message,) = await asyncio.wait_for(pull.next_batch(), 30)
    request = msgspec.json.decode(message.data, type=GenerationRequested)
    claim = rpc.Claim(chat_id=chat_id, generation_id=request.generation_id, claim_id=ids.new_id(), worker_id="worker")
    claimed = await ask(worker, claim, timeout=10)
    assert isinstance(claimed, rpc.Claimed)
    await publish_durable(worker.jetstream(), finished(claimed), deadline=10)
    await message.ack()

    async def stored() -> bool:
        reply = await ask(push, rpc.Sync(chat_id=chat_id), timeout=10)
        assert isinstance(reply, rpc.SyncReply)
        return reply.messages[-1].status == "complete"

    await eventually(stored)
    await changed.next_msg(5)

    async def dead_lettered() -> bool:
        return (await operator.jetstream().stream_info("DEAD_LETTERS")).state.messages == 1

    await eventually(dead_lettered)
