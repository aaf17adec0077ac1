"""A reader who does not read costs a cursor: the text is not kept for it, and nobody waits for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from parley.contracts.frames import Delta
from tests.integration.push.backend import Backend
from tests.integration.push.conftest import Describe, url_of
from tests.integration.push.reader import DEADLINE, reading
from tests.support.service import ServiceProcess
from tests.support.waiting import eventually


def resident(push: ServiceProcess) -> int:
    """Bytes of memory that the process holds."""
    children = Path(f"/proc/{push.pid}/task/{push.pid}/children").read_text().split()
    pid = int(children[0]) if children else push.pid
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def test_a_reader_who_stops_reading_catches_up_in_a_few_frames(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann", "ben")
    warm, tokens = 2_000, 20_000

    async def say(first: int, last: int) -> None:
        """As fast as a reader can follow: this is about the one who does not."""
        for number in range(first, last + 1):
            await backend.say(chat, 1)
            if number % 200 == 0:
                await eventually(
                    lambda: reader.running is not None and reader.running.seq >= number - 200,  # noqa: B023
                    deadline=60,
                )
        await eventually(lambda: reader.running is not None and reader.running.seq == last, deadline=60)

    async with (
        # A reader who does not read answers no ping; on a busy machine all this takes a while.
        describe(PING_INTERVAL=600) as push,
        reading(url_of(push)) as fast,
        # A small buffer of its own, or the kernel would read for it.
        reading(url_of(push), "ben", max_queue=4) as slow,
    ):
        reader, sleeper = await fast.follow(chat), await slow.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        # A process is as large as it becomes only when it has done everything once.
        await say(1, warm)
        await eventually(lambda: sleeper.running is not None and sleeper.running.seq == warm, deadline=60)
        slow.stop_reading()
        before = resident(push)
        await say(warm + 1, warm + tokens)
        assert "parley_push_lagging_readers 1.0" in push.get("/metrics")[1]
        assert reader.running is not None
        text = len(reader.running.text.encode())
        # A queue of its frames, of 190 bytes and more each, would be over twice as much.
        assert resident(push) - before < 1_500_000 + text, "the text once, and next to nothing else"
        seen = len(sleeper.frames)
        slow.go_on_reading()
        await eventually(lambda: sleeper.running is not None and sleeper.running.seq == warm + tokens, deadline=60)
        assert sleeper.running is not None
        assert sleeper.running.text == reader.running.text
        caught_up = max(frame.to - frame.from_ for frame in sleeper.frames[seen:] if isinstance(frame, Delta))
        assert caught_up > tokens / 4, "most of what was missed comes in one frame"
        await backend.finish(chat)
        for client in (reader, sleeper):
            await eventually(lambda: client.messages == backend.chats[chat].messages)  # noqa: B023


async def test_a_reader_who_missed_more_than_deltas_gets_a_snapshot(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann", "ben")
    async with describe() as push, reading(url_of(push), max_queue=1) as slow:
        sleeper = await slow.follow(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        await eventually(lambda: sleeper.running is not None)
        slow.stop_reading()
        while "parley_push_lagging_readers 1.0" not in push.get("/metrics")[1]:
            await backend.say(chat, 500)
        await backend.finish(chat)
        await backend.submit(chat)
        await backend.claim(chat)
        await backend.say(chat, 3)
        slow.go_on_reading()
        await eventually(
            lambda: (
                sleeper.version == backend.chats[chat].version
                and sleeper.running is not None
                and sleeper.running.seq == 3
            ),
            deadline=DEADLINE,
        )
        assert sleeper.messages == backend.chats[chat].messages
        assert backend.asked["sync"] == 1


async def test_many_stalled_readers_do_not_hold_up_one_that_reads(backend: Backend, describe: Describe) -> None:
    chat = backend.new_chat("ann", "ben")
    async with describe() as push, reading(url_of(push), "ben") as fast:
        reader = await fast.follow(chat)
        stalled = []
        for _ in range(20):
            context = reading(url_of(push), max_queue=1)
            slow = await context.__aenter__()
            stalled.append((context, slow))
            await slow.follow(chat)
            slow.stop_reading()
        await backend.submit(chat)
        await backend.claim(chat)
        for _ in range(600):
            await backend.say(chat, 40)
        await asyncio.wait_for(
            eventually(lambda: reader.running is not None and reader.running.seq == 24_000), DEADLINE
        )
        for context, _slow in stalled:
            await context.__aexit__(None, None, None)
        await eventually(lambda: "parley_push_sockets 1.0" in push.get("/metrics")[1])
