"""Restoring a backup: Postgres first, then the streams as their declaration has them, then what they owe.

Services must not run meanwhile. Afterwards chat-store handles what the streams owe as if nothing had happened, and asks
again for every answer that was due: whoever was making one is gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from chat_store.storage import repository, schema
from parley.contracts.streams import CONSUMERS
from parley_cli.backup import archive, pending_messages
from parley_cli.backup.archive import ArchiveReader, Manifest
from parley_cli.backup.creation import connected
from parley_cli.backup.database import Database
from parley_cli.backup.errors import BackupError, NotAnArchive, NotEmpty, StillRunning
from parley_cli.backup.targets import Place
from parley_cli.stack.errors import StackError
from parley_cli.stack.migration import migrate
from parley_cli.stack.secrets import keep_secret_key

_VERSIONS = "schema_versions"


async def restore(
    place: Place, file: Path, *, force: bool, on_step: Callable[[str], None] = lambda step: None
) -> Manifest:
    """Put everything in ``file`` into the servers of ``place``, and return what that was.

    Args:
        force: Replace existing data.
        on_step: Called with what is done now.

    Raises:
        BackupError: up to the database's own commit nothing has changed; later, restore again with ``force``.
    """
    with ArchiveReader(file) as reader:
        manifest = reader.manifest
        if manifest.schema_version > len(schema.migrations()):
            raise NotAnArchive(file, "a newer version of Parley made it; restore it with that")
        messages = list(reader.messages())
        async with connected(place.nats_url) as nc, Database.open(place.database_url) as database:
            js = nc.jetstream(timeout=10)
            if await database.is_served():
                raise StillRunning("chat-store is connected to the database")
            if consumer := await pending_messages.whoever_waits(js, CONSUMERS):
                raise StillRunning(f"A service takes messages from {consumer}")
            held = await pending_messages.held(js)
            rows = await database.tables()
            filled = [f"{count} rows in {table}" for table, count in rows.items() if count and table != _VERSIONS]
            filled += [f"{count} messages in {stream}" for stream, count in held.items() if count]
            if filled and not force:
                raise NotEmpty(filled)
            on_step("database")
            await database.replace_by(reader.chunks(archive.DATABASE))
            if await database.tables() != manifest.tables:
                raise BackupError("What was restored has not as many rows as the manifest says. Do not use it.")
            copies = await pending_messages.delete_streams(js) if any(held.values()) else 1
            on_step("migration")
            await _migrate(place, copies)
            await repository.request_anew(database.connection, ending=pending_messages.ended_attempts(messages))
            on_step("messages")
            for message in messages:
                await pending_messages.publish(js, message)
    if place.keys is not None and manifest.secret_key is not None:
        keep_secret_key(place.keys, manifest.secret_key)
    return manifest


async def _migrate(place: Place, copies: int) -> None:
    """Bring an older schema up to date, and make what streams and consumers are missing."""
    environment = {"STREAM_REPLICAS": str(copies), **os.environ}
    try:
        await migrate(environment | {"NATS_URL": place.nats_url, "DATABASE_URL": place.database_url})
    except StackError as error:
        raise BackupError(str(error)) from error
