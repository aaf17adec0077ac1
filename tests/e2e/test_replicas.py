"""Three push processes behind one port, no stickiness: readers are cut off, moved and starved of NATS in mid-answer."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import pytest

from parley.contracts import frames
from parley_client import ParleyClient
from parley_client.backoff import Backoff
from parley_client.client import Transport
from parley_client.watch import Watch
from tests.support.stack import RunningStack
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

CHATS = 5
TOKENS = 100


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Parts of it may be stopped: they come back."""
    folder = tmp_path_factory.mktemp("replicas") / "data"
    with RunningStack(folder, "--gateway", "2", "--push", "3", "--llm-worker", "2") as running:
        yield running


class CutByEachDelta:
    """A reader who loses the connection with each delta that it applies."""

    def __init__(self, stack: RunningStack, transport: Transport) -> None:
        self.client = ParleyClient(stack.url, transport=transport, backoff=Backoff(base=0.001, cap=0.01))
        self.cuts = 0
        self.applied: list[tuple[int, int, int]] = []

    def on_frame(self, frame: frames.ServerFrame) -> None:
        if isinstance(frame, frames.Delta):
            self.applied.append((frame.attempt, frame.from_, frame.to))
            self.cuts += 1
            self.client.drop()

    async def read(self, number: int) -> None:
        async with self.client as client:
            chat = await client.api.create_chat(model=f"demo-rate-10x{TOKENS}")
            async with client.watch(chat.id, self.on_frame) as watch:
                answer = await watch.answer_to(await client.api.send(chat.id, f"cut me {number}"))
            assert answer.status == "complete"
            assert answer == (await client.api.all_messages(chat.id))[-1]
        ends = [0, *(to for _, _, to in self.applied)]
        assert all(first > end for end, (_, first, _) in zip(ends, self.applied, strict=False)), "a delta came twice"


@pytest.mark.parametrize("transport", ["socket", "events"])
async def test_readers_who_are_cut_after_every_delta_assemble_the_stored_text(
    stack: RunningStack, transport: Transport
) -> None:
    readers = [CutByEachDelta(stack, transport) for _ in range(CHATS)]
    await asyncio.gather(*(reader.read(number) for number, reader in enumerate(readers)))
    # What came while a connection was being made came with a snapshot, and cuts nothing.
    assert sum(reader.cuts for reader in readers) > CHATS * TOKENS / 10


async def test_readers_of_a_push_that_leaves_are_all_with_another_and_miss_nothing(stack: RunningStack) -> None:
    sockets_each = 20
    async with AsyncExitStack() as stay:
        watches: list[list[Watch]] = []
        senders = []
        for _ in range(CHATS):
            sender = await stay.enter_async_context(stack.client())
            chat = await sender.api.create_chat(model="demo-rate-20x200")
            readers = [
                await stay.enter_async_context(ParleyClient(stack.url, access_token=sender.api.access_token))
                for _ in range(sockets_each)
            ]
            watches.append([await stay.enter_async_context(reader.watch(chat.id)) for reader in readers])
            await asyncio.gather(*(watch.until(lambda state: state.chat) for watch in watches[-1]))
            senders.append((sender, chat.id))
        prompts = [await sender.api.send(chat_id, "Move along") for sender, chat_id in senders]
        await asyncio.gather(
            *(
                watch.until(lambda state: state.generation and state.generation.text)
                for readers_of in watches
                for watch in readers_of
            )
        )
        leaving = stack.state.processes["push-2"]
        assert leaving.pid is not None
        assert await _sockets(leaving.health_port) > 0
        os.kill(leaving.pid, signal.SIGTERM)
        await eventually(lambda: _ended(stack, "push-2"), deadline=30, what="the end of push-2, with exit code 0")
        for prompt, readers_of in zip(prompts, watches, strict=True):
            answers = await asyncio.gather(*(watch.answer_to(prompt) for watch in readers_of))
            assert {answer.status for answer in answers} == {"complete"}
            assert len({answer.content for answer in answers}) == 1
            assert all(watch.doubled == 0 for watch in readers_of)
        await eventually(lambda: stack.state.processes["push-2"].pid not in (None, leaving.pid))


async def test_nats_may_be_killed_in_mid_answer_and_nobody_has_to_reload(stack: RunningStack) -> None:
    async with AsyncExitStack() as stay:
        ends = []
        for number in range(CHATS):
            client = await stay.enter_async_context(stack.client())
            chat = await client.api.create_chat(model="demo-rate-20x200")
            watch = await stay.enter_async_context(client.watch(chat.id))
            prompt = await client.api.send(chat.id, f"hold on {number}")
            ends.append((client, chat.id, watch, prompt))
        await asyncio.gather(
            *(watch.until(lambda state: state.generation and state.generation.text) for _, _, watch, _ in ends)
        )
        nats = stack.state.processes["nats"]
        assert nats.pid is not None
        os.kill(nats.pid, signal.SIGKILL)
        for client, chat_id, watch, prompt in ends:
            answer = await watch.answer_to(prompt)
            assert answer.status == "complete"
            assert answer == (await client.api.all_messages(chat_id))[-1]


def _ended(stack: RunningStack, name: str) -> bool:
    return any(name in line and "ended with exit code 0" in line for line in stack.log.splitlines())


async def _sockets(health_port: int | None) -> float:
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(f"http://127.0.0.1:{health_port}/metrics")).text
    return sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("parley_push_sockets "))
