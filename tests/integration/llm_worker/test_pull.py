"""One message at a time, and only while a caller waits."""

import asyncio
import time

import pytest
from nats.aio.msg import Msg

from parley.contracts.ids import new_id
from parley.contracts.streams import LLM_WORKER_REQUESTS
from parley.runtime.nats.connect import connect, wait_until_processed
from parley.runtime.nats.pull import Fetched, PullConsumer
from parley_cli.embedded.nats import NatsServer
from tests.integration.llm_worker.conftest import ACK_WAIT
from tests.integration.llm_worker.harness import Harness
from tests.support.waiting import eventually


def pull_consumer(harness: Harness, *, expires: float = 1.0) -> PullConsumer:
    return PullConsumer(harness.nc, LLM_WORKER_REQUESTS, prefetch=False, expires=expires)


async def next_message(pull: PullConsumer) -> Fetched:
    async with asyncio.timeout(15):
        return await pull.next()


async def test_messages_come_one_by_one_in_order(harness: Harness) -> None:
    turns = [await harness.ask(f"{i}") for i in range(3)]
    pull = pull_consumer(harness)
    for turn in turns:
        before = time.monotonic()
        fetched = await next_message(pull)
        assert turn.generation_id.encode() in fetched.message.data
        assert before <= fetched.requested_at <= time.monotonic()
        assert await harness.delivered_is(1)
        await fetched.message.ack_sync()
    await pull.close()


async def test_a_request_that_expires_on_the_server_is_repeated(harness: Harness) -> None:
    pull = pull_consumer(harness, expires=0.1)
    asked: list[Msg] = []

    async def count(message: Msg) -> None:
        asked.append(message)

    await harness.nc.subscribe("$JS.API.CONSUMER.MSG.NEXT.>", cb=count)
    waiting = asyncio.create_task(next_message(pull))
    await eventually(lambda: len(asked) >= 3)
    turn = await harness.ask("late")
    assert turn.generation_id.encode() in (await waiting).message.data
    await pull.close()


async def test_a_message_that_arrives_after_a_cancellation_is_redelivered_at_once(harness: Harness) -> None:
    pull = pull_consumer(harness, expires=30)
    waiting = asyncio.create_task(pull.next())
    await eventually(lambda: harness.open_requests_is(1))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await harness.ask("nobody is there")
    await wait_until_processed(harness.nc)
    await pull.close()
    # Long before ack_wait has passed.
    other = pull_consumer(harness)
    assert (await next_message(other)).message.metadata.num_delivered <= 2
    await other.close()


async def test_a_message_that_arrives_with_the_cancellation_is_redelivered(harness: Harness) -> None:
    pull = pull_consumer(harness, expires=30)
    waiting = asyncio.create_task(pull.next())
    await eventually(lambda: harness.open_requests_is(1))

    async def cancel(message: Msg) -> None:
        waiting.cancel()

    # The same turn of the loop that brings the request brings the cancellation.
    await harness.nc.subscribe("chat.*.generation.requested", cb=cancel)
    asked = time.monotonic()
    await harness.ask("bad moment")
    got: Fetched | None = None
    try:
        got = await waiting
    except asyncio.CancelledError:
        other = pull_consumer(harness)
        assert (await next_message(other)).message.metadata.num_delivered == 2
        assert time.monotonic() - asked < ACK_WAIT
        await other.close()
    else:
        assert got.message.data
    await pull.close()


async def test_requests_continue_after_a_restart_of_the_server(nats_server: NatsServer, harness: Harness) -> None:
    pull: PullConsumer | None = None

    async def renew() -> None:
        if pull is not None:
            pull.renew()

    nc = await connect(nats_server.url, name="puller", on_reconnected=renew)
    pull = PullConsumer(nc, LLM_WORKER_REQUESTS, prefetch=False, expires=30)
    waiting = asyncio.create_task(next_message(pull))
    await eventually(lambda: harness.open_requests_is(1))
    nats_server.kill()
    nats_server.start()
    await eventually(lambda: harness.nc.is_connected and nc.is_connected)
    turn = await harness.ask(new_id())
    assert turn.generation_id.encode() in (await waiting).message.data
    await nc.close()
