"""An event that cannot be handled is kept aside, with the reason, and blocks nobody."""

import asyncpg
import msgspec
import pytest

from parley.contracts import subjects
from parley.runtime.nats import dead_letters
from parley.runtime.nats.publish import publish_durable, publish_durable_raw
from parley_cli.dead_letters.queue import DeadLetterQueue
from tests.integration.chat_store.client import Neighbour, finished, prompt
from tests.integration.chat_store.conftest import StartStore
from tests.support.waiting import eventually


async def _dead(neighbour: Neighbour, consumer: str) -> list[tuple[bytes, dict[str, str]]]:
    found = []
    state = (await neighbour.js.stream_info("DEAD_LETTERS")).state
    for number in range(1, state.last_seq + 1):
        message = await neighbour.js.get_msg("DEAD_LETTERS", seq=number)
        if (message.subject or "").startswith(f"dead.{consumer}."):
            found.append((message.data or b"", message.headers or {}))
    return found


async def test_damaged_and_future_prompts_are_dead_lettered_and_the_others_flow(
    start_store: StartStore, neighbour: Neighbour
) -> None:
    # All of it lies in the stream when chat-store comes: one batch with good and bad ones.
    async with start_store():
        chat_id = await neighbour.chat()
    good = prompt(chat_id, "good")
    future = msgspec.json.encode(msgspec.to_builtins(prompt(chat_id)) | {"v": 99})
    always = prompt(chat_id, "always raises", user_id="a\x00nn")
    bodies = [b"damaged", future, msgspec.json.encode(good), msgspec.json.encode(always), b'{"type": "other"}']
    for number, body in enumerate(bodies):
        await publish_durable_raw(neighbour.js, subjects.prompt_submitted(chat_id), body, f"test:{number}", deadline=10)
    async with start_store(tracebacks=True):
        await neighbour.answer(chat_id)
        last = await neighbour.say(chat_id, "after them")
        await neighbour.answer(chat_id, number=2)
        assert [one.id for one in await neighbour.messages(chat_id) if one.role == "user"] == [good.message_id, last]

        async def all_dead_lettered() -> bool:
            return len(await _dead(neighbour, "chat-store-prompts")) == 4

        await eventually(all_dead_lettered, deadline=60)
    dead = await _dead(neighbour, "chat-store-prompts")
    reasons = {body: headers[dead_letters.REASON] for body, headers in dead}
    assert "does not decode" in reasons[b"damaged"]
    assert "version 99" in reasons[future]
    assert "UntranslatableCharacter" in reasons[bodies[3]]
    info = await neighbour.js.consumer_info("CHAT", "chat-store-prompts")
    assert (info.num_ack_pending, info.num_pending) == (0, 0)


BREAK = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.content = 'poison' THEN RAISE EXCEPTION 'no poison'; END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse();
"""


async def test_a_prompt_that_always_fails_is_dead_lettered_and_its_replay_works_once_the_cause_is_mended(
    start_store: StartStore, neighbour: Neighbour, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(BREAK)
        async with start_store(tracebacks=True):
            chat_id, other = await neighbour.chat(), await neighbour.chat()
            poison = await neighbour.say(chat_id, "poison")
            await neighbour.say(other, "and me?")
            await neighbour.answer(other)

            async def dead_lettered() -> bool:
                return len(await _dead(neighbour, "chat-store-prompts")) == 1

            await eventually(dead_lettered, deadline=60)
            assert await neighbour.messages(chat_id) == []
            await connection.execute("DROP TRIGGER refuse ON messages")
            queue = DeadLetterQueue(neighbour.js)
            (letter,) = [letter async for letter in queue.letters()]
            assert "no poison" in letter.reason
            await queue.replay(letter.number)
            await neighbour.answer(chat_id, "cured")
            assert [one.id for one in await neighbour.messages(chat_id) if one.role == "user"] == [poison]
    finally:
        await connection.close()


@pytest.mark.parametrize("body", [b"damaged", b'{"type": "generation.finished"}'])
async def test_a_damaged_end_is_dead_lettered(start_store: StartStore, neighbour: Neighbour, body: bytes) -> None:
    async with start_store():
        chat_id = await neighbour.chat()
        await neighbour.say(chat_id)
        claimed = await neighbour.claimed(await neighbour.request_for(chat_id))
        await publish_durable_raw(neighbour.js, subjects.generation_finished(chat_id), body, "damaged", deadline=10)
        event = finished(claimed, "whole")
        await publish_durable(neighbour.js, event, deadline=10)

        async def both() -> bool:
            answer = await neighbour.message(chat_id, claimed.message_id)
            return bool(answer and answer.content == "whole") and bool(await _dead(neighbour, "chat-store-finished"))

        await eventually(both)
