"""Durable publishing, requests and provisioning, against a real nats-server."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import nats
import nats.js.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StreamConfig, StreamInfo

from parley.contracts import rpc, streams, subjects
from parley.contracts.events import PromptSubmitted
from parley.runtime.nats import dead_letters, jetstream
from parley.runtime.nats.connect import connect
from parley.runtime.nats.errors import BusUnavailable, NoResponder, NotProvisioned, RpcRefused
from parley.runtime.nats.jetstream import Needs
from parley.runtime.nats.provision import Differs, inspect, provision
from parley.runtime.nats.publish import publish_durable
from parley.runtime.nats.requests import ask
from parley.runtime.nats.requirements import require
from parley_cli.embedded.nats import NatsServer
from tests.support.waiting import eventually


@pytest.fixture
async def nc(nats_url: str) -> AsyncIterator[Client]:
    client = await connect(nats_url, name="test")
    yield client
    await client.close()


def prompt(message_id: str = "m1") -> PromptSubmitted:
    return PromptSubmitted(
        chat_id="c1", occurred_at=datetime.now(UTC), message_id=message_id, user_id="u1", content="hi"
    )


async def test_provisioning_twice_creates_everything_once(nc: Client) -> None:
    created = await provision(nc)
    assert set(created) == {spec.name for spec in (*streams.STREAMS, *streams.CONSUMERS)}
    assert await provision(nc) == []
    await require(nc.jetstream(), streams=streams.STREAMS, consumers=streams.CONSUMERS)


async def test_provisioning_waits_for_the_servers_of_a_cluster_that_has_just_started(
    nc: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("parley.runtime.nats.provision._CREATE_AGAIN", 0.01)
    add_stream = JetStreamContext.add_stream
    missing = 3

    async def add_when_complete(js: JetStreamContext, config: StreamConfig) -> StreamInfo:
        nonlocal missing
        missing -= 1
        if missing >= 0:
            description = "no suitable peers for placement, peer offline"
            raise nats.js.errors.BadRequestError(code=400, err_code=10005, description=description)
        return await add_stream(js, config)

    monkeypatch.setattr(JetStreamContext, "add_stream", add_when_complete)
    assert len(await provision(nc)) == len(streams.STREAMS) + len(streams.CONSUMERS)
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "The stream CHAT cannot be created yet: no suitable peers for placement, peer offline"
    ]


async def test_a_stream_that_differs_is_reported_and_left_alone(nc: Client) -> None:
    await nc.jetstream().add_stream(name="CHAT", subjects=["chat.>"])
    with pytest.raises(Differs, match="stream CHAT exists with other settings: subjects"):
        await provision(nc)
    assert (await nc.jetstream().stream_info("CHAT")).config.subjects == ["chat.>"]


async def test_what_loses_nothing_is_mended_and_what_an_installation_chooses_is_kept(nc: Client) -> None:
    await provision(nc)
    js = nc.jetstream()
    chat = (await js.stream_info("CHAT")).config
    chosen = {"max_bytes": 50_000_000, "max_age": chat.max_age * 2, "max_msgs": 1000}  # type: ignore[operator]
    await js.update_stream(chat.evolve(discard=DiscardPolicy.OLD, max_msgs_per_subject=3, **chosen))
    requests = (await js.consumer_info("CHAT", streams.LLM_WORKER_REQUESTS.name)).config
    await js.add_consumer("CHAT", requests.evolve(max_ack_pending=5, max_deliver=2))

    assert all(finding.mends for finding in await inspect(nc))
    named = " ".join(finding.text for finding in await inspect(nc))
    assert all(field in named for field in ("discard", "max_msgs_per_subject", "max_ack_pending", "max_deliver"))
    assert len(await provision(nc)) == 4
    assert await inspect(nc) == []
    assert await provision(nc) == []
    chat = (await js.stream_info("CHAT")).config
    assert chat.discard == "new"
    assert {name: getattr(chat, name) for name in chosen} == chosen


async def test_a_full_stream_refuses_and_drops_nothing_that_was_accepted(nc: Client) -> None:
    await provision(nc)
    js = nc.jetstream()
    await js.update_stream((await js.stream_info("CHAT")).config.evolve(max_msgs=50))
    accepted = 0
    for number in range(150):
        try:
            await js.publish(subjects.prompt_submitted(str(number)), b"{}")
            accepted += 1
        except nats.js.errors.APIError:
            break
    assert accepted == (await js.stream_info("CHAT")).state.messages == 50
    problem = await jetstream.check(nc, Needs(streams=(streams.CHAT,)))
    assert problem is not None
    assert problem.startswith("The stream CHAT is full (max_msgs is 50) and refuses messages.")


async def test_an_installation_of_an_earlier_version_gets_the_new_settings(nc: Client) -> None:
    await provision(nc)
    js = nc.jetstream()
    chat = (await js.stream_info("CHAT")).config
    earlier = [subject for subject in chat.subjects or () if subject != subjects.WRITE_PROBE]
    await js.update_stream(chat.evolve(discard=DiscardPolicy.OLD, subjects=earlier))
    with pytest.raises(NotProvisioned, match=r"does not take probe.chat. Run `parley migrate`"):
        await require(js, streams=(streams.CHAT,))
    await provision(nc)
    await require(js, streams=(streams.CHAT,))


async def test_what_is_missing_is_named_with_what_to_do(nc: Client) -> None:
    with pytest.raises(NotProvisioned, match=r"CHAT does not exist. Run `parley migrate`"):
        await require(nc.jetstream(), streams=(streams.CHAT,))
    await provision(nc)
    await nc.jetstream().delete_consumer("CHAT", streams.LLM_WORKER_REQUESTS.name)
    with pytest.raises(NotProvisioned, match="llm-worker-requests"):
        await require(nc.jetstream(), consumers=(streams.LLM_WORKER_REQUESTS,))


async def test_the_same_event_fifty_times_is_stored_once(nc: Client) -> None:
    await provision(nc)
    js = nc.jetstream()
    await asyncio.gather(*(publish_durable(js, prompt(), deadline=5) for _ in range(50)))
    assert (await js.stream_info("CHAT")).state.messages == 1


async def test_a_durable_publish_outlives_a_restart_of_the_server(nc: Client, nats_server: NatsServer) -> None:
    await provision(nc)
    await asyncio.to_thread(nats_server.kill)
    publishing = asyncio.create_task(publish_durable(nc.jetstream(), prompt(), deadline=30))
    await asyncio.to_thread(nats_server.start)
    await publishing
    assert (await nc.jetstream().stream_info("CHAT")).state.messages == 1


async def test_a_durable_publish_gives_up_at_its_deadline(nc: Client) -> None:
    with pytest.raises(BusUnavailable):  # no stream takes the subject
        await publish_durable(nc.jetstream(), prompt(), deadline=0.3)


async def test_a_request_tells_refusal_from_silence(nc: Client) -> None:
    subject = subjects.rpc_store("claim")
    body = rpc.Claim(chat_id="c", generation_id="g", claim_id="1", worker_id="w")
    with pytest.raises(NoResponder):
        await ask(nc, body, timeout=1)

    replies = iter(
        [rpc.ClaimRefused(), rpc.RpcError(code="unavailable", message="Postgres is away.", retry_after=2.0), None]
    )

    async def answer(message: Msg) -> None:
        reply = next(replies)
        if reply is not None:
            await message.respond(msgspec.json.encode(reply))

    await nc.subscribe(subject, cb=answer)
    assert await ask(nc, body, timeout=5) == rpc.ClaimRefused()
    with pytest.raises(RpcRefused) as refused:
        await ask(nc, body, timeout=5)
    assert (refused.value.code, refused.value.retry_after) == ("unavailable", 2.0)
    with pytest.raises(BusUnavailable):
        await ask(nc, body, timeout=0.2)


async def test_a_dead_letter_keeps_body_headers_and_reason_and_is_kept_once(nc: Client) -> None:
    await provision(nc)
    js = nc.jetstream()
    await js.publish(subjects.prompt_submitted("c1"), b"not json", headers={"X-Kept": "yes"})
    subscription = await js.pull_subscribe_bind(streams.CHAT_STORE_PROMPTS.name, "CHAT")
    (message,) = await subscription.fetch(1, timeout=5)
    for _ in range(2):
        await dead_letters.publish(js, consumer="chat-store-prompts", message=message, reason="two\nlines")
    assert (await js.stream_info("DEAD_LETTERS")).state.messages == 1
    dead = await js.get_msg("DEAD_LETTERS", seq=1)
    assert dead.data == b"not json"
    assert dead.subject == "dead.chat-store-prompts.c1"
    assert dead.headers is not None
    assert dead.headers["X-Kept"] == "yes"
    assert dead.headers[dead_letters.REASON] == "two lines"
    assert dead.headers[dead_letters.SUBJECT] == "chat.c1.prompt.submitted"


async def test_a_connection_that_closes_for_good_says_so(nats_url: str) -> None:
    closed = asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    client = await connect(nats_url, name="test", on_closed=on_closed)
    await client.close()
    await eventually(closed.is_set)


async def test_a_connection_closed_in_good_order_is_no_lost_one(
    nats_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    for end in (Client.close, Client.drain):
        await end(await connect(nats_url, name="test"))
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_lost_connection_is_reported_once_and_then_what_to_do(
    nc: Client, nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "parley")
    await asyncio.to_thread(nats_server.kill)
    # Each further try is in the log of level DEBUG.
    await eventually(lambda: sum(record.levelno == logging.DEBUG for record in caplog.records) >= 3)
    await asyncio.to_thread(nats_server.start)
    await eventually(lambda: "Connected to NATS again" in caplog.messages)
    lost, away = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert lost == "Lost the connection to NATS; reconnecting"
    assert away.startswith(f"NATS does not answer at 127.0.0.1:{nats_server.port}: ")


async def test_segments_do_not_wait_for_the_disk_and_promises_do(nc: Client) -> None:
    await provision(nc)
    modes = {spec.name: (await nc.jetstream().stream_info(spec.name)).config.persist_mode for spec in streams.STREAMS}
    assert modes["SEGMENTS"] == nats.js.api.PersistMode.ASYNC
    assert modes["CHAT"] in (None, nats.js.api.PersistMode.DEFAULT)
