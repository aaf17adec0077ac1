"""Restarts the stack's nats-server when it stores no messages although its disk has space.

A nats-server (2.10 to 2.15) whose disk was full keeps the failed write as the state of its stream: it responds for
the stream and refuses every message until it is restarted, also when there is space again.
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
"""Seconds between two test messages."""

_TRIES: Final = 2
"""Consecutive failures before a restart: one may be due to a start or a slow disk."""
_ENOUGH: Final = 64 * 1024 * 1024
_ENOUGH_SHARE: Final = 0.1


async def watch(server: NatsServer, process: SupervisedProcess, log: CombinedLog, *, every: float = EVERY) -> None:
    """Test the server every ``every`` seconds, and restart it when that helps, until cancelled."""
    failures, reported = 0, ""
    async with _connected(server) as nc:
        while True:
            await asyncio.sleep(every)
            if not nc.is_connected:
                continue
            problem = await _write(nc)
            if problem is None:
                if reported:
                    log.line(process.spec.name, "stores messages again")
                failures, reported = 0, ""
                continue
            failures += 1
            if failures < _TRIES:
                continue
            if not _has_space(server):
                sentence = f"stores no messages: its disk is full ({server.folder}); it continues once there is space"
                if sentence != reported:
                    log.line(process.spec.name, sentence)
                reported = sentence
            else:
                reported = "restarted"
                log.line(
                    process.spec.name, f"stores no messages although its disk has space; restarting it ({problem})"
                )
                failures = 0
                await process.restart()


@asynccontextmanager
async def _connected(server: NatsServer) -> AsyncIterator[Client]:
    async def on_error(_: Exception) -> None:
        """The services log it."""

    nc = await connect(server.url, name="parley-up", on_error=on_error)
    try:
        yield nc
    finally:
        await nc.close()


async def _write(nc: Client) -> str | None:
    """Store one message and delete it; return the error if it is not stored."""
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
