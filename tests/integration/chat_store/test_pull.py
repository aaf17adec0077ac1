"""Taking messages from a real server: how much at once."""

import asyncio
import time

from parley.contracts import ids, subjects
from parley.contracts.streams import CHAT_STORE_PROMPTS
from parley.runtime.nats.pull import MAX_BYTES, PullConsumer
from tests.integration.chat_store.client import Neighbour
from tests.integration.chat_store.conftest import StartStore
from tests.support.waiting import eventually

SIZE = 700_000
COUNT = 64


async def test_a_request_for_many_long_messages_brings_no_more_than_its_bytes(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    """No chat-store runs: ``start_store`` has made the streams."""
    subject = subjects.prompt_submitted(ids.new_id())
    for number in range(COUNT):
        await neighbour.js.publish(subject, number.to_bytes(2, "big") + bytes(SIZE), timeout=10)
    pull = PullConsumer(neighbour.nc, CHAT_STORE_PROMPTS, batch=COUNT)

    async def delivered() -> bool:
        info = await neighbour.js.consumer_info(CHAT_STORE_PROMPTS.stream, CHAT_STORE_PROMPTS.name)
        await neighbour.nc.flush()
        return not info.num_waiting or not info.num_pending

    seen: list[int] = []
    began = time.monotonic()
    largest = 0
    while len(seen) < COUNT:
        await eventually(delivered, what="all that the open request brings")
        batch = await asyncio.wait_for(pull.next_batch(), 30)
        largest = max(largest, sum(len(message.data) for message in batch))
        seen += [int.from_bytes(message.data[:2], "big") for message in batch]
        for message in batch:
            await message.ack()
    await pull.close()
    assert seen == list(range(COUNT)), "all of them, each once, in their order"
    assert SIZE < largest <= MAX_BYTES
    assert time.monotonic() - began < 20, "the next request is made at once"


async def test_messages_that_are_taken_one_at_a_time_are_each_requested_at_once(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    subject = subjects.prompt_submitted(ids.new_id())
    for number in range(200):
        await neighbour.js.publish(subject, number.to_bytes(2, "big"), timeout=10)
    pull = PullConsumer(neighbour.nc, CHAT_STORE_PROMPTS, prefetch=False)
    async with asyncio.timeout(30):  # a pause after each would add up to 50 s
        for number in range(200):
            message = (await pull.next()).message
            assert message.data == number.to_bytes(2, "big")
            await message.ack()
    await pull.close()
