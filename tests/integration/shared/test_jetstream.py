"""Looking at JetStream when it answers in part, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import io
import signal
from pathlib import Path

import psutil
import pytest

from parley.contracts import ids, streams, subjects
from parley.runtime.nats import jetstream
from parley.runtime.nats.connect import connect
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley.runtime.nats.jetstream import NOBODY, Needs
from parley.runtime.nats.provision import provision
from parley.runtime.nats.publish import publish_durable_raw
from parley.runtime.nats.pull import PullConsumer
from parley.runtime.tasks import end
from parley_cli.stack.log import CombinedLog
from tests.chaos.cluster import Cluster
from tests.support.pausing import pause
from tests.support.waiting import eventually

NEEDS = Needs(streams=(streams.CHAT,), publishes=(subjects.prompt_submitted(NOBODY),))


@pytest.mark.timeout(180)
async def test_a_cluster_without_a_majority_is_reported_and_then_ready_again(tmp_path: Path) -> None:
    async with Cluster(tmp_path, CombinedLog(io.StringIO(), colour=False)) as cluster:
        nc = await connect(cluster.url.rpartition(",")[2], name="test")
        paused: list[psutil.Process] = []
        try:
            await provision(nc, replicas=3)

            async def is_well() -> bool:
                return await jetstream.check(nc, NEEDS) is None

            await eventually(is_well, deadline=60)
            stored = (await nc.jetstream().stream_info("CHAT")).state.messages
            for process in list(cluster.processes.values())[:2]:
                assert process.pid is not None
                parent = psutil.Process(process.pid)
                paused += [parent, *parent.children(recursive=True)]
            pause(*(one.pid for one in paused))

            async def is_reported() -> bool:
                problem = await jetstream.check(nc, NEEDS)
                return problem is not None and problem.startswith("JetStream does not answer about ")

            await eventually(is_reported, deadline=60)
            for one in paused:
                one.send_signal(signal.SIGCONT)
            await eventually(is_well, deadline=60)
            assert (await nc.jetstream().stream_info("CHAT")).state.messages == stored, "looking stores nothing"
        finally:
            for one in paused:
                one.send_signal(signal.SIGCONT)
            await nc.close()


@pytest.mark.timeout(180)
async def test_while_the_leaders_of_a_cluster_change_each_message_is_stored_once_and_each_is_delivered(
    tmp_path: Path,
) -> None:
    async with Cluster(tmp_path, CombinedLog(io.StringIO(), colour=False)) as cluster:
        nc = await connect(cluster.url, name="test")
        try:
            await provision(nc, replicas=3)
            js = nc.jetstream()
            chat_id = ids.new_id()
            subject = subjects.prompt_submitted(chat_id)
            pull = PullConsumer(nc, streams.CHAT_STORE_PROMPTS, batch=16)
            taken: list[bytes] = []
            changes: set[str] = set()

            async def take() -> None:
                while True:
                    for message in await pull.next_batch():
                        taken.append(message.data)
                        await message.ack()

            async def has_leaders() -> bool:
                with contextlib.suppress(*TRANSIENT_ERRORS):
                    await js.consumer_info("CHAT", streams.CHAT_STORE_PROMPTS.name)
                    await js.stream_info("CHAT")
                    return True
                return False

            async def change_leaders() -> None:
                consumer = f"$JS.API.CONSUMER.LEADER.STEPDOWN.CHAT.{streams.CHAT_STORE_PROMPTS.name}"
                for api in ("$JS.API.STREAM.LEADER.STEPDOWN.CHAT", consumer) * 4:
                    with contextlib.suppress(*TRANSIENT_ERRORS):
                        if b'"success":true' in (await nc.request(api, b"", timeout=2)).data:
                            changes.add(api)
                    await eventually(has_leaders, deadline=30)

            taking, changing = asyncio.create_task(take()), asyncio.create_task(change_leaders())
            sent: list[bytes] = []
            while not changing.done() or len(sent) < 100:
                sent.append(str(len(sent)).encode())
                await publish_durable_raw(js, subject, sent[-1], ids.new_id(), deadline=30)
            await changing
            assert len(changes) == 2
            await eventually(lambda: set(taken) >= set(sent), deadline=100, what="every delivery")
            await end(taking)
            await pull.close()
            found = await js.stream_info("CHAT", subjects_filter=subject)
            assert found.state.subjects == {subject: len(sent)}
        finally:
            await nc.close()
