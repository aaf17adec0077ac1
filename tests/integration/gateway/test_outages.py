"""Outages of NATS and chat-store: what can be accepted is accepted, the rest is a 503 with Retry-After."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from nats.aio.client import Client

from parley.contracts.ids import new_id
from parley.runtime.nats.provision import provision
from parley_cli.embedded.nats import NatsServer
from parley_cli.embedded.ports import free_port
from tests.integration.gateway.conftest import Running, User, environment, prompts_of, provisioned, signed_in, store_on
from tests.support.chat_store.fake import FakeStore
from tests.support.service import ServiceProcess, run_service
from tests.support.waiting import eventually


@pytest.fixture
async def own(nats_server: NatsServer) -> AsyncIterator[ServiceProcess]:
    """A gateway and a NATS of this test's own."""
    await asyncio.to_thread(provisioned, nats_server.url)
    async with run_service("gateway", environment(nats_server.url, free_port())) as process:
        yield process


@pytest.fixture
async def user(gateway: Running, nc: Client) -> AsyncIterator[User]:
    """A guest who signed in while there was a chat-store."""
    async with AsyncExitStack() as stack:
        async with FakeStore(nc):
            user = await stack.enter_async_context(signed_in(gateway.url))
        yield user


def assert_try_again(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["code"] == "unavailable"
    assert 1 <= int(answer.headers["retry-after"]) <= 30


async def test_without_chat_store_sends_to_known_chats_are_accepted_and_all_else_is_503(
    gateway: Running, user: User, nc: Client
) -> None:
    async with FakeStore(nc):
        chat_id = await user.new_chat()
    answer = await user.http.post(f"/v1/chats/{chat_id}/messages", json={"content": "while it is away"})
    assert answer.status_code == 202
    assert [prompt.content for prompt in await prompts_of(nc, chat_id)] == ["while it is away"]
    for request in (
        user.http.post(f"/v1/chats/{new_id()}/messages", json={"content": "unknown chat"}),
        user.http.get("/v1/chats"),
        user.http.get(f"/v1/chats/{chat_id}/messages"),
        user.http.post("/v1/chats", json={}),
    ):
        assert_try_again(await request)
    assert gateway.process.get("/readyz")[0] == 200, "it can still take messages"


async def test_a_chat_store_that_restarts_is_a_delay_and_no_error(gateway: Running, user: User, nc: Client) -> None:
    asking = asyncio.create_task(user.http.get("/v1/chats"))
    await eventually(lambda: "No responder for rpc.store.list_chats yet" in gateway.process.log)
    async with FakeStore(nc) as store:
        assert (await asking).status_code == 200
        assert store.asked["list_chats"] == 1


async def test_a_chat_store_that_hangs_is_a_503_in_bounded_time(user: User, store: FakeStore) -> None:
    store.silent = True
    async with asyncio.timeout(10):
        assert_try_again(await user.http.get("/v1/chats"))


async def test_without_nats_every_request_is_a_503_and_works_again_afterwards(
    own: ServiceProcess, nats_server: NatsServer
) -> None:
    async with store_on(nats_server.url) as (nc, _), signed_in(own.health_url) as user:
        chat_id = await user.new_chat()
        message_id = new_id()
        body = {"id": message_id, "content": "hello"}
        await asyncio.to_thread(nats_server.kill)
        await eventually(lambda: own.get("/readyz")[0] == 503)
        assert own.get("/healthz")[0] == 200, "an outage of NATS is no reason to restart the gateway"
        messages = f"/v1/chats/{chat_id}/messages"
        assert_try_again(await user.http.post(messages, json=body))
        assert_try_again(await user.http.get("/v1/chats"))
        assert (await user.http.get("/v1/config")).status_code == 200
        assert (await user.http.post("/v1/push-ticket")).status_code == 200
        await asyncio.to_thread(nats_server.start)
        await eventually(lambda: own.get("/readyz")[0] == 200, deadline=30)
        assert (await user.http.post(messages, json=body)).status_code == 202
        await eventually(lambda: nc.is_connected, deadline=30)
        assert [prompt.message_id for prompt in await prompts_of(nc, chat_id)] == [message_id]


async def test_a_revocation_while_nats_is_away_counts_within_seconds_of_the_reconnect(
    own: ServiceProcess, nats_server: NatsServer
) -> None:
    async with (
        store_on(nats_server.url) as (nc, store),
        signed_in(own.health_url) as user,
        signed_in(own.health_url) as other,
    ):
        for somebody in (user, other):
            assert (await somebody.http.get("/v1/me")).status_code == 200
        await asyncio.to_thread(nats_server.kill)
        await eventually(lambda: own.get("/readyz")[0] == 503)
        for digest, session in tuple(store.identities.sessions.items()):
            if session.user.id == user.id:
                del store.identities.sessions[digest]  # and the event reaches nobody
        assert (await user.http.get("/v1/me")).status_code == 200, "the gateway cannot know"
        await asyncio.to_thread(nats_server.start)
        await eventually(lambda: nc.is_connected and own.get("/readyz")[0] == 200, deadline=30)

        async def refused() -> bool:
            answer = await user.http.get("/v1/me")
            assert answer.status_code in (200, 401, 503)
            return answer.status_code == 401

        await eventually(refused, deadline=5)
        assert (await other.http.get("/v1/me")).status_code == 200
        await eventually(lambda: store.asked["find_revoked"] > 0)


async def test_a_send_during_a_short_outage_waits_for_its_end(own: ServiceProcess, nats_server: NatsServer) -> None:
    async with store_on(nats_server.url) as (nc, _), signed_in(own.health_url) as user:
        chat_id = await user.new_chat()
        await asyncio.to_thread(nats_server.kill)
        await eventually(lambda: own.get("/readyz")[0] == 503)
        sending = asyncio.create_task(user.http.post(f"/v1/chats/{chat_id}/messages", json={"content": "hold on"}))
        await asyncio.to_thread(nats_server.start)
        assert (await sending).status_code == 202
        await eventually(lambda: nc.is_connected, deadline=30)
        assert [prompt.content for prompt in await prompts_of(nc, chat_id)] == ["hold on"]


async def test_requests_do_not_accumulate_during_a_long_outage(own: ServiceProcess, nats_server: NatsServer) -> None:
    async with store_on(nats_server.url), signed_in(own.health_url) as user:
        chat_id = await user.new_chat()
        await asyncio.to_thread(nats_server.kill)
        messages = f"/v1/chats/{chat_id}/messages"
        # The first one waits as long as it may; from then on it is known that NATS is away.
        now = asyncio.get_running_loop().time
        started = now()
        assert_try_again(await user.http.post(messages, json={"content": "x"}))
        waited, started = now() - started, now()
        answers = await asyncio.gather(*(user.http.post(messages, json={"content": "x"}) for _ in range(20)))
        assert {answer.status_code for answer in answers} == {503}
        assert now() - started < waited


async def test_a_stream_that_is_full_or_missing_is_reported_and_the_gateway_recovers(
    own: ServiceProcess, nats_server: NatsServer
) -> None:
    async with store_on(nats_server.url) as (nc, _), signed_in(own.health_url) as user:
        messages = f"/v1/chats/{await user.new_chat()}/messages"
        assert (await user.http.post(messages, json={"content": "one"})).status_code == 202
        js = nc.jetstream()
        await js.update_stream((await js.stream_info("CHAT")).config.evolve(max_msgs=1))
        assert_try_again(await user.http.post(messages, json={"content": "two"}))
        await eventually(lambda: "The stream CHAT is full (max_msgs is 1)" in own.get("/readyz")[1])
        await js.delete_stream("CHAT")
        await eventually(lambda: "The stream CHAT does not exist. Run `parley migrate`." in own.get("/readyz")[1])
        assert (await user.http.get("/v1/chats")).status_code == 200
        await provision(nc)
        await eventually(lambda: own.get("/readyz")[0] == 200)
        assert (await user.http.post(messages, json={"content": "three"})).status_code == 202
        await eventually(lambda: own.log.count("Not ready: The stream CHAT does not exist") == 1)
