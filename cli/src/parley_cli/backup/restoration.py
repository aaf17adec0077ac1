"""Restore: Postgres first, then the streams as they are declared, then their pending messages.

Services must not run meanwhile. Afterwards chat-store processes the pending messages, and requests every outstanding
answer again: the workers that generated them are gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from chat_store.storage import generations, schema
from parley_cli.backup import archive, pending_messages
from parley_cli.backup.archive import ArchiveReader, Manifest
from parley_cli.backup.creation import connected
from parley_cli.backup.database import Database
from parley_cli.backup.errors import BackupError, NotAnArchive, NotEmpty, StillRunning
from parley_cli.backup.targets import Installation
from parley_cli.stack.errors import StackError
from parley_cli.stack.migration import migrate
from parley_cli.stack.secrets import keep_secret_key

_VERSIONS = "schema_versions"


async def restore(
    installation: Installation, file: Path, *, force: bool, on_step: Callable[[str], None] = lambda step: None
) -> Manifest:
    """Put everything in ``file`` into the servers of ``installation``, and return what that was.

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
        async with connected(installation.nats_url) as nc, Database.open(installation.database_url) as database:
            js = nc.jetstream(timeout=10)
            if await database.is_served():
                raise StillRunning("chat-store is connected to the database")
            if consumer := await pending_messages.active_consumer(js):
                raise StillRunning(f"A service fetches messages of {consumer}")
            counts = await pending_messages.message_counts(js)
            rows = await database.tables()
            filled = [f"{count} rows in {table}" for table, count in rows.items() if count and table != _VERSIONS]
            filled += [f"{count} messages in {stream}" for stream, count in counts.items() if count]
            if filled and not force:
                raise NotEmpty(filled)
            on_step("database")
            await database.replace_by(reader.chunks(archive.DATABASE))
            if await database.tables() != manifest.tables:
                raise BackupError("The restored tables do not have as many rows as the manifest. Do not use them.")
            copies = await pending_messages.delete_streams(js) if any(counts.values()) else 1
            on_step("migration")
            await _migrate(installation, copies)
            await generations.request_anew(database.connection, ending=pending_messages.ended_attempts(messages))
            on_step("messages")
            for message in messages:
                await pending_messages.publish(js, message)
    if installation.keys is not None and manifest.secret_key is not None:
        keep_secret_key(installation.keys, manifest.secret_key)
    return manifest


async def _migrate(installation: Installation, copies: int) -> None:
    """Bring an older schema up to date, and make what streams and consumers are missing."""
    environment = {"STREAM_REPLICAS": str(copies), **os.environ}
    try:
        await migrate(environment | {"NATS_URL": installation.nats_url, "DATABASE_URL": installation.database_url})
    except StackError as error:
        raise BackupError(str(error)) from error
