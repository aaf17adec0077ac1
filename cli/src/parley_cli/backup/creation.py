"""Backup, while all services run.

The streams are read before Postgres, so no message is missed: one that was accepted before is either pending in its
stream, and read, or was in Postgres by then, and is in the dump. One that is in both is harmless, since processing is
idempotent. (In the other order, a message that is stored between the two would be in neither.)
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client

from parley.contracts.streams import CHAT, CHAT_STORE_FINISHED, CHAT_STORE_PROMPTS, DEAD_LETTERS
from parley.runtime.nats.errors import BusUnavailable, NotProvisioned
from parley.runtime.nats.requirements import require
from parley.runtime.server_urls import without_credentials
from parley_cli import servers
from parley_cli.backup import archive, pending_messages
from parley_cli.backup.archive import ArchiveWriter, Manifest, StoredMessage
from parley_cli.backup.database import Database
from parley_cli.backup.errors import BackupError
from parley_cli.backup.targets import Installation
from parley_cli.stack.secrets import load_secrets


async def back_up(
    installation: Installation, file: Path, *, force: bool = False, on_step: Callable[[str], None] = lambda step: None
) -> Manifest:
    """Write everything that was accepted before now to ``file``, and return the manifest.

    Args:
        force: Replace an existing file.
        on_step: Called with what is done now.

    Raises:
        BackupError: No file is left.
    """
    with ArchiveWriter(file, force=force) as writer:
        on_step("messages")
        async with connected(installation.nats_url) as nc:
            messages = await _pending(nc)
            nats_version = servers.nats_version(nc)
        await writer.add(archive.MESSAGES, _lines(messages), compress=True)
        async with Database.open(installation.database_url) as database, database.snapshot() as snapshot:
            manifest = Manifest(
                format=archive.FORMAT,
                made_at=datetime.now(UTC),
                postgres_version=await servers.postgres_version(database.connection),
                nats_version=nats_version,
                schema_version=await database.schema_version(),
                tables=await database.tables(),
                messages=dict(Counter(map(pending_messages.kind_of, messages))),
                parts={},
                secret_key=load_secrets(installation.keys).secret_key if installation.keys is not None else None,
            )
            await writer.add(archive.DATABASE, _counted(database.dump(snapshot), on_step), compress=False)
        return writer.finish(manifest)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """Connect to NATS. Raises: BackupError: it does not answer, or fails a request."""
    try:
        async with servers.nats_client(url, "parley-backup") as nc:
            await servers.check_jetstream(nc)
            yield nc
    except servers.ServerUnusable as error:
        raise BackupError(str(error)) from error
    except (TimeoutError, nats.errors.Error, nats.js.errors.Error, BusUnavailable) as error:
        raise BackupError(f"NATS at {without_credentials(url)} failed a request: {error!r}") from error


async def _pending(nc: Client) -> list[StoredMessage]:
    js = nc.jetstream(timeout=10)
    try:
        await require(js, streams=(CHAT, DEAD_LETTERS), consumers=(CHAT_STORE_PROMPTS, CHAT_STORE_FINISHED))
    except NotProvisioned as error:
        raise BackupError(str(error)) from error
    # Dead letters before and after: one may be replayed meanwhile (too late for this read of CHAT), or a message may
    # become one.
    before = await pending_messages.dead_letters(js)
    messages = await pending_messages.unprocessed(js)
    after = await pending_messages.dead_letters(js)
    letters = {letter.seq: letter for letter in (*before, *after)}
    return [*messages, *(letters[seq] for seq in sorted(letters))]


async def _counted(chunks: AsyncIterator[bytes], on_step: Callable[[str], None]) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        on_step(f"database, {size / 1e6:.1f} MB")
        yield chunk


async def _lines(messages: list[StoredMessage]) -> AsyncIterator[bytes]:
    for message in messages:
        yield msgspec.json.encode(message) + b"\n"
