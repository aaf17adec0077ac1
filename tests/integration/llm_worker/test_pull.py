"""One message at a time, and none kept that nobody works on."""

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
from tests.integration.llm_worker.stage import Stage
from tests.support.waiting import eventually


def a_pull(on_stage: Stage, *, expires: float = 1.0) -> PullConsumer:
    return PullConsumer(on_stage.nc, LLM_WORKER_REQUESTS, prefetch=False, expires=expires)


async def taken(pull: PullConsumer) -> Fetched:
    async with asyncio.timeout(15):
        return await pull.next()


async def test_messages_come_one_by_one_in_order(on_stage: Stage) -> None:
    turns = [await on_stage.ask(f"{i}") for i in range(3)]
    pull = a_pull(on_stage)
    for turn in turns:
        before = time.monotonic()
        fetched = await taken(pull)
        assert turn.generation_id.encode() in fetched.message.data
        assert before <= fetched.requested_at <= time.monotonic()
        assert await on_stage.delivered_is(1)
        await fetched.message.ack_sync()
    await pull.close()


async def test_waiting_outlasts_the_server_s_patience(on_stage: Stage) -> None:
    pull = a_pull(on_stage, expires=0.1)
    asked: list[Msg] = []

    async def count(message: Msg) -> None:
        asked.append(message)

    await on_stage.nc.subscribe("$JS.API.CONSUMER.MSG.NEXT.>", cb=count)
    waiting = asyncio.create_task(taken(pull))
    await eventually(lambda: len(asked) >= 3)
    turn = await on_stage.ask("late")
    assert turn.generation_id.encode() in (await waiting).message.data
    await pull.close()


async def test_what_comes_after_a_cancellation_is_given_back_at_once(on_stage: Stage) -> None:
    pull = a_pull(on_stage, expires=30)
    waiting = asyncio.create_task(pull.next())
    await eventually(lambda: on_stage.asking_is(1))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await on_stage.ask("nobody is there")
    await wait_until_processed(on_stage.nc)
    await pull.close()
    # Long before ack_wait has passed.
    other = a_pull(on_stage)
    assert (await taken(other)).message.metadata.num_delivered <= 2
    await other.close()


async def test_a_message_that_comes_with_the_cancellation_is_given_back(on_stage: Stage) -> None:
    pull = a_pull(on_stage, expires=30)
    waiting = asyncio.create_task(pull.next())
    await eventually(lambda: on_stage.asking_is(1))

    async def cancel(message: Msg) -> None:
        waiting.cancel()

    # The same turn of the loop that brings the request brings the cancellation.
    await on_stage.nc.subscribe("chat.*.generation.requested", cb=cancel)
    asked = time.monotonic()
    await on_stage.ask("bad moment")
    got: Fetched | None = None
    try:
        got = await waiting
    except asyncio.CancelledError:
        other = a_pull(on_stage)
        assert (await taken(other)).message.metadata.num_delivered == 2
        assert time.monotonic() - asked < ACK_WAIT
        await other.close()
    else:
        assert got.message.data
    await pull.close()


async def test_asking_goes_on_after_a_restart_of_the_server(nats_server: NatsServer, on_stage: Stage) -> None:
    pull: PullConsumer | None = None

    async def renew() -> None:
        if pull is not None:
            pull.renew()

    nc = await connect(nats_server.url, name="puller", on_reconnected=renew)
    pull = PullConsumer(nc, LLM_WORKER_REQUESTS, prefetch=False, expires=30)
    waiting = asyncio.create_task(taken(pull))
    await eventually(lambda: on_stage.asking_is(1))
    nats_server.kill()
    nats_server.start()
    await eventually(lambda: on_stage.nc.is_connected and nc.is_connected)
    turn = await on_stage.ask(new_id())
    assert turn.generation_id.encode() in (await waiting).message.data
    await nc.close()
