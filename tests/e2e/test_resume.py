"""Readers that come late, lose their connection or change it: each ends with the stored text, byte for byte."""

import asyncio
import random

import pytest

from parley_cli.embedded.ports import free_port
from parley_client import ParleyClient
from parley_client.backoff import Backoff
from parley_client.client import Transport
from tests.support.sharing import join
from tests.support.stack import RunningStack
from tests.support.waiting import eventually


@pytest.mark.parametrize("transport", ["socket", "events"])
async def test_a_reader_whose_connection_is_cut_again_and_again_misses_nothing(
    stack: RunningStack, transport: Transport
) -> None:
    cuts = random.Random(5)
    async with ParleyClient(stack.url, transport=transport, backoff=Backoff(base=0.02, cap=0.1)) as client:
        chat = await client.api.create_chat(model="demo-rate-100x400")
        seen = ""
        async with client.watch(chat.id) as watch:
            prompt = await client.api.send(chat.id, "cut me")
            while not [a for a in watch.state.answers_to(prompt) if a.status == "complete"]:
                if watch.state.generation is not None:
                    assert watch.state.generation.text.startswith(seen), "text is never taken back"
                    seen = watch.state.generation.text
                    if cuts.random() < 0.1:
                        client.drop()
                await asyncio.sleep(0.02)
            answer = await watch.answer_to(prompt)
        assert client.connections > 5
        assert answer.content.startswith(seen)
        assert answer == (await client.api.all_messages(chat.id))[-1]


async def test_where_sockets_do_not_work_events_do_until_sockets_work_again(stack: RunningStack) -> None:
    port = free_port()
    push = stack.state.of("push")["push-1"].port

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_push, to_push = await asyncio.open_connection("127.0.0.1", push)
        await asyncio.gather(_pipe(reader, to_push), _pipe(from_push, writer))

    async with ParleyClient(
        stack.url, push_url=f"ws://127.0.0.1:{port}/ws", backoff=Backoff(0.01, 0.02), socket_again=0.2
    ) as client:
        chat = await client.api.create_chat(model="demo-rate-100x600")
        async with client.watch(chat.id) as watch:
            prompt = await client.api.send(chat.id, "through a bad network")
            await watch.until(lambda state: state.generation and len(state.generation.text) > 200)
            assert await eventually(lambda: client.carried_by) == "events"
            relaying = await asyncio.start_server(relay, "127.0.0.1", port)
            await eventually(lambda: client.carried_by == "socket")
            answer = await watch.answer_to(prompt)
            assert answer == (await client.api.all_messages(chat.id))[-1]
    relaying.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def test_a_second_reader_who_joins_in_mid_answer_sees_the_same(stack: RunningStack, client: ParleyClient) -> None:
    chat = await client.api.create_chat(model="demo-rate-100x200")
    async with client.watch(chat.id) as first:
        prompt = await client.api.send(chat.id, "two readers")
        await first.until(lambda state: state.generation and len(state.generation.text) > 100)
        async with stack.client(access_token=client.api.access_token) as other, other.watch(chat.id) as second:
            state = await second.until(lambda state: state.generation)
            assert len(state.text) > 100, "what was said before is there at once"
            assert await first.answer_to(prompt) == await second.answer_to(prompt)


async def test_a_reader_who_comes_after_the_end_gets_the_stored_answer(client: ParleyClient) -> None:
    chat = await client.api.create_chat(model="demo-fast")
    async with client.watch(chat.id) as watch:
        answer = await watch.answer_to(await client.api.send(chat.id, "early"))
    async with client.watch(chat.id) as late:
        assert await late.until(lambda state: state.message(answer.id)) == answer
        assert late.state.generation is None


async def test_a_member_who_is_let_in_reads_along_and_one_who_is_removed_does_not(
    stack: RunningStack, client: ParleyClient
) -> None:
    chat = await client.api.create_chat(model="demo-rate-50x1000")
    async with stack.client() as guest:
        await guest.api.begin_session()
        assert guest.api.user_id is not None
        await join(chat.id, client, guest)
        async with guest.watch(chat.id) as theirs, client.watch(chat.id) as mine:
            await client.api.send(chat.id, "read along")
            await theirs.until(lambda state: state.generation and "read along" in state.generation.text)
            await client.api.delete_member(chat.id, guest.api.user_id)
            await theirs.until(lambda state: state.deleted, timeout=20)
            before = mine.state.generation.seq if mine.state.generation else 0
            await mine.until(lambda state: state.generation and state.generation.seq > before + 10)
            await client.api.stop(chat.id)
