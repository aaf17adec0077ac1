"""A nats-server whose disk was full: it is reported, and restarted once there is space again."""

from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path

from nats.aio.client import Client

from parley.contracts import subjects
from parley.runtime.nats import jetstream
from parley.runtime.nats.connect import connect
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley.runtime.nats.jetstream import StreamWrites
from parley.runtime.nats.provision import provision
from parley.runtime.tasks import end
from parley_cli.doctor import nats_check
from parley_cli.doctor.target import Target
from parley_cli.embedded.nats import NatsServer
from parley_cli.stack import nats_watch
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.process import ProcessSpec, SupervisedProcess
from tests.support.small_disk import small_disk
from tests.support.waiting import eventually


async def test_a_nats_server_whose_disk_was_full_is_reported_and_restarted_once_there_is_space(tmp_path: Path) -> None:
    written = io.StringIO()
    log = CombinedLog(written, colour=False)
    with small_disk(tmp_path / "disk") as disk:
        server = NatsServer(disk.folder / "nats")
        process = _supervised(server, log)
        await process.start()
        nc = await connect(server.url, name="test")
        watching = asyncio.create_task(nats_watch.watch(server, process, log, every=0.2))
        try:
            await provision(nc)
            await _store(nc)
            writes = StreamWrites()
            disk.fill()
            await _refused(nc)
            writes.failed()
            sentence = await writes.problem(nc)
            assert sentence is not None
            assert sentence.startswith("NATS does not store messages in the stream CHAT")
            assert await jetstream.check(nc, jetstream.Needs()) is None
            assert "NATS stores no messages in the stream CHAT" in await _doctor(server)
            await eventually(lambda: "its disk is full" in written.getvalue(), deadline=30)

            disk.make_space()
            await eventually(lambda: "restarting it" in written.getvalue(), deadline=30)
            await eventually(lambda: "stores messages again" in written.getvalue(), deadline=30)
            await _store(nc)
            assert await writes.problem(nc) is None
            assert "Published messages are stored." in await _doctor(server)
            assert written.getvalue().count("its disk is full") == 1
            assert process.restarts == 1
        finally:
            await end(watching)
            await nc.close()
            await process.stop()


def _supervised(server: NatsServer, log: CombinedLog) -> SupervisedProcess:
    async def ready() -> bool:
        return server.is_ready()

    spec = ProcessSpec(
        name="nats",
        service="nats",
        command=lambda: server.command,
        prepare=server.prepare,
        ready=ready,
        stop_signal=server.stop_signal,
    )
    return SupervisedProcess(spec, log, restart_delays=(0.05, 0.05), on_change=lambda: None)


async def _store(nc: Client) -> None:
    await nc.jetstream(timeout=10).publish(subjects.prompt_submitted("chat"), bytes(1000))


async def _refused(nc: Client) -> None:
    """Return once a message is not stored: what was allocated before may have room for a few."""

    async def refused() -> bool:
        try:
            await nc.jetstream(timeout=1).publish(subjects.prompt_submitted("chat"), bytes(100_000))
        except TRANSIENT_ERRORS:
            return True
        return False

    await eventually(refused, deadline=30)


async def _doctor(server: NatsServer) -> str:
    report = await nats_check.check(Target(nats_url=server.url), time.time)
    return "\n".join(finding.text for finding in report.findings)
