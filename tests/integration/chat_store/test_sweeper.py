"""The sweeper repairs what a dead worker or a lost message caused."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from nats.aio.msg import Msg

from parley.contracts import ids, rpc, subjects
from parley.contracts.events import GenerationRequested
from parley.contracts.streams import CHAT_STORE_FINISHED, LLM_WORKER_REQUESTS
from parley.runtime.nats.pull import PullConsumer
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.conftest import StartStore
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually


@asynccontextmanager
async def worker(neighbour: Neighbour) -> AsyncIterator[asyncio.Queue[Msg]]:
    """Pulls requests as a worker with free slots does; what arrives is acknowledged, as by one that then dies."""
    pull = PullConsumer(neighbour.nc, LLM_WORKER_REQUESTS, batch=8)
    taken: asyncio.Queue[Msg] = asyncio.Queue()

    async def take() -> None:
        while True:
            for message in await pull.next_batch():
                await message.ack()
                taken.put_nowait(message)

    task = asyncio.create_task(take())
    try:
        yield taken
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await pull.close()


def oldest_request(store: ServiceProcess) -> float:
    """Age in seconds, as Prometheus reads it."""
    found = re.search(r"^parley_chat_store_oldest_request_seconds (\S+)$", store.get("/metrics")[1], re.M)
    return float(found[1]) if found is not None else 0.0


async def test_an_answer_without_an_owner_is_requested_again_and_at_last_fails(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store(ORPHAN_AFTER="1"), worker(neighbour):
        claimed_chat, unclaimed_chat = await neighbour.chat(), await neighbour.chat()
        await neighbour.say(claimed_chat)
        await neighbour.say(unclaimed_chat)
        claimed = await neighbour.claimed(await neighbour.request_for(claimed_chat))
        again = await neighbour.request_for(claimed_chat, number=2, deadline=40)
        assert (again.generation_id, again.request) == (claimed.generation_id, 2)
        assert (await neighbour.request_for(unclaimed_chat, number=2, deadline=40)).request == 2
        takeover = await neighbour.claimed(again)
        assert takeover.attempt == 2


async def test_the_answers_of_a_worker_whose_connection_ended_are_requested_again_within_seconds(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    asked = 0

    async def never_answer(message: Msg) -> None:
        nonlocal asked
        asked += 1

    async with start_store(ORPHAN_AFTER="600") as store, worker(neighbour):
        dead, paused = await neighbour.chat(), await neighbour.chat()
        for chat_id in (dead, paused):
            await neighbour.say(chat_id)
        request = await neighbour.request_for(paused)
        await neighbour.nc.subscribe(subjects.rpc_generation_snapshot(request.generation_id), cb=never_answer)
        await neighbour.claimed(request)
        claimed = await neighbour.claimed(await neighbour.request_for(dead))
        again = await neighbour.request_for(dead, number=2, deadline=20)
        assert (await neighbour.claimed(again)).attempt == claimed.attempt + 1
        assert 'kind="worker_gone"} 1.0' in store.get("/metrics")[1]
        before = asked
        await eventually(lambda: asked > before + 2, deadline=30, what="two more rounds")
        assert [one.request for one in neighbour.requested if one.chat_id == paused] == [1], "it is connected"


async def test_an_owner_that_answers_is_left_alone(start_store: StartStore, neighbour: Neighbour) -> None:
    asked = 0

    async def on_snapshot(message: Msg) -> None:
        nonlocal asked
        asked += 1
        await message.respond(b"{}")

    async with start_store(ORPHAN_AFTER="1"), worker(neighbour):
        owned, orphan = await neighbour.chat(), await neighbour.chat()
        for chat_id in (owned, orphan):
            await neighbour.say(chat_id)
        request = await neighbour.request_for(owned)
        await neighbour.nc.subscribe(subjects.rpc_generation_snapshot(request.generation_id), cb=on_snapshot)
        await neighbour.claimed(request)
        await neighbour.claimed(await neighbour.request_for(orphan))
        await neighbour.request_for(orphan, number=2, deadline=40)
        assert asked > 0
        assert [one.request for one in neighbour.requested if one.chat_id == owned] == [1]


async def test_no_request_is_repeated_while_all_workers_are_busy(start_store: StartStore, neighbour: Neighbour) -> None:
    async with start_store(ORPHAN_AFTER="1") as store:
        waiting = await neighbour.chat()
        await neighbour.say(waiting)
        await neighbour.request_for(waiting)
        await eventually(lambda: oldest_request(store) > 1)
        async with worker(neighbour) as taken:
            # One that the worker takes and forgets shows that the sweeper has gone round.
            await neighbour.request_for(waiting, number=2, deadline=40)
            assert taken.qsize() >= 1
        assert 'kind="without_owner"' in store.get("/metrics")[1]


@pytest.mark.parametrize("owner", ["gone", "alive"])
async def test_an_end_that_lies_in_the_stream_is_found(
    start_store: StartStore, neighbour: Neighbour, owner: str
) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(b"{}")

    store = start_store(ORPHAN_AFTER="600")
    async with store, worker(neighbour):
        chat_id = await neighbour.chat()
        await neighbour.say(chat_id)
        request = await neighbour.request_for(chat_id)
        if owner == "alive":
            # A worker answers for an answer until it can be read.
            subject = subjects.rpc_generation_snapshot(request.generation_id)
            await neighbour.nc.subscribe(subject, cb=answer)
        claimed = await neighbour.claimed(request)
        await asyncio.to_thread(store.stop)
        # As when another chat-store dies before it acknowledges the event: the server redelivers it after ack_wait.
        holder = PullConsumer(neighbour.nc, CHAT_STORE_FINISHED, batch=1)
        await neighbour.finish(claimed, "whole")
        unacknowledged = await asyncio.wait_for(holder.next_batch(), 30)
        store.start()
        await asyncio.to_thread(store.wait_ready)

        async def stored() -> bool:
            answer = await neighbour.message(chat_id, claimed.message_id)
            return answer is not None and answer.content == "whole"

        await eventually(stored, deadline=CHAT_STORE_FINISHED.ack_wait / 2)
        assert 'kind="end_found"} 1.0' in store.get("/metrics")[1]
        assert not unacknowledged[0].is_acked
        assert [one.request for one in neighbour.requested if one.chat_id == chat_id] == [1]
        await holder.close()


async def test_a_request_that_used_up_its_deliveries_is_made_again(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    async with start_store():
        chat_id = await neighbour.chat()
        await neighbour.say(chat_id)
        first = await neighbour.request_for(chat_id)
        pull = PullConsumer(neighbour.nc, LLM_WORKER_REQUESTS, batch=1)

        async def refuse() -> None:
            while True:
                for message in await pull.next_batch():
                    await message.nak()

        task = asyncio.create_task(refuse())
        try:
            again = await neighbour.request_for(chat_id, number=2, deadline=30)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await pull.close()
        assert (again.generation_id, again.request) == (first.generation_id, 2)


async def test_an_advisory_of_the_last_request_fails_the_answer(start_store: StartStore, neighbour: Neighbour) -> None:
    async with start_store():
        chat_id = await neighbour.chat()
        await neighbour.say(chat_id)
        waiting = await neighbour.say(chat_id, "next")
        request = await neighbour.request_for(chat_id)
        for number in range(1, 6):
            stored = await _sequence_of(neighbour, request.generation_id, number)
            advisory = {
                "type": "io.nats.jetstream.advisory.v1.max_deliver",
                "id": ids.new_id(),
                "stream": "CHAT",
                "consumer": LLM_WORKER_REQUESTS.name,
                "stream_seq": stored,
                "deliveries": 20,
            }
            await neighbour.js.publish(
                "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.CHAT.llm-worker-requests", msgspec.json.encode(advisory)
            )
        await eventually(lambda: [one for one in neighbour.requested if one.generation_id != request.generation_id])
        answer = await neighbour.message(chat_id, request.message_id)
        assert answer is not None
        assert answer.error is not None
        assert (answer.status, answer.error.code) == ("failed", "attempts_exhausted")
        question = await neighbour.message(chat_id, waiting)
        assert question is not None
        assert question.status == "sent"


async def _sequence_of(neighbour: Neighbour, generation_id: str, number: int) -> int:
    """Where the generation's ``number``-th request lies in the stream."""

    async def look() -> int:
        state = (await neighbour.js.stream_info("CHAT")).state
        for sequence in range(state.first_seq, state.last_seq + 1):
            message = await neighbour.js.get_msg("CHAT", seq=sequence)
            if message.subject and message.subject.endswith("generation.requested"):
                event = msgspec.json.decode(message.data or b"", type=GenerationRequested)
                if (event.generation_id, event.request) == (generation_id, number):
                    return sequence
        return 0

    return await eventually(look)


async def test_a_stop_is_repeated_after_a_restart(start_store: StartStore, neighbour: Neighbour) -> None:
    store = start_store()
    async with store:
        chat_id = await neighbour.chat()
        await neighbour.say(chat_id)
        claimed = await neighbour.claimed(await neighbour.request_for(chat_id))
        await neighbour.ask(rpc.Stop(user_id="ann", chat_id=chat_id))
        await asyncio.to_thread(store.stop)
        neighbour.signals.clear()
        store.start()
        await eventually(lambda: claimed.generation_id in neighbour.signals)
