"""Restarting the stack's nats-server when it stores nothing any more though its disk has space.

A nats-server (2.10 to 2.15) whose disk was full keeps the failed write as the state of its stream: it answers for the
stream and refuses every message, also when there is space again, until it is restarted.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from nats.aio.client import Client

from parley.contracts.streams import CHAT
from parley.runtime.nats import jetstream
from parley.runtime.nats.connect import connect
from parley.runtime.nats.errors import TRANSIENT_ERRORS
from parley_cli.embedded.nats import NatsServer
from parley_cli.stack.log import CombinedLog
from parley_cli.stack.process import SupervisedProcess

EVERY: Final = 10.0
"""Seconds between two messages that are stored to see whether they are."""

_TRIES: Final = 2
"""Messages in a row that are not stored before it is restarted: one may meet a start or a slow disk."""
_ENOUGH: Final = 64 * 1024 * 1024
_ENOUGH_SHARE: Final = 0.1


async def watch(server: NatsServer, process: SupervisedProcess, log: CombinedLog, *, every: float = EVERY) -> None:
    """Until cancelled."""
    failures, said = 0, ""
    async with _connected(server) as nc:
        while True:
            await asyncio.sleep(every)
            if not nc.is_connected:
                continue
            problem = await _write(nc)
            if problem is None:
                if said:
                    log.line(process.spec.name, "stores messages again")
                failures, said = 0, ""
                continue
            failures += 1
            if failures < _TRIES:
                continue
            if not _has_space(server):
                sentence = f"stores no messages: its disk is full ({server.folder}); it goes on once there is space"
                if sentence != said:
                    log.line(process.spec.name, sentence)
                said = sentence
            else:
                said = "restarted"
                log.line(process.spec.name, f"stores no messages though its disk has space; restarting it ({problem})")
                failures = 0
                await process.restart()


@asynccontextmanager
async def _connected(server: NatsServer) -> AsyncIterator[Client]:
    async def on_error(_: Exception) -> None:
        """The services say it."""

    nc = await connect(server.url, name="parley-up", on_error=on_error)
    try:
        yield nc
    finally:
        await nc.close()


async def _write(nc: Client) -> str | None:
    """Store one message and delete it; what is wrong, if it is not stored."""
    js = nc.jetstream(timeout=jetstream.ANSWER_TIMEOUT)
    try:
        stored = await jetstream.write(js)
    except TRANSIENT_ERRORS as error:
        return jetstream.said(error)
    with contextlib.suppress(*TRANSIENT_ERRORS):
        await js.delete_msg(CHAT.name, stored.seq)
    return None


def _has_space(server: NatsServer) -> bool:
    disk = shutil.disk_usage(server.folder)
    return disk.free > min(_ENOUGH, _ENOUGH_SHARE * disk.total)
