"""The outbox of audit events: written in the transaction that they report, published by the leader."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from chat_store.storage.rows import Connection
from parley.contracts import ids
from parley.contracts.access.audit import AuditEvent, AuditKind

RECORD: Final = "INSERT INTO audit_outbox (id, event) SELECT * FROM unnest($1::uuid[], $2::text[])"


def event(kind: AuditKind, **fields: Any) -> AuditEvent:
    """Return a new event with the current time."""
    return AuditEvent(id=ids.new_id(), kind=kind, occurred_at=datetime.now(UTC), **fields)


async def record(connection: Connection, *events: AuditEvent) -> None:
    """Store events for publication, in the transaction of the caller if there is one."""
    if events:
        bodies = [msgspec.json.encode(one).decode() for one in events]
        await connection.execute(RECORD, [one.id for one in events], bodies)


UNPUBLISHED: Final = "SELECT event FROM audit_outbox ORDER BY id LIMIT $1"


async def unpublished(connection: Connection, *, limit: int) -> list[AuditEvent]:
    """Return the events that the stream may not have yet, the oldest first."""
    return [msgspec.json.decode(row[0], type=AuditEvent) for row in await connection.fetch(UNPUBLISHED, limit)]


PUBLISHED: Final = "DELETE FROM audit_outbox WHERE id = ANY($1::uuid[])"


async def published(connection: Connection, event_ids: Sequence[str]) -> None:
    """Delete events that the stream has acknowledged."""
    await connection.execute(PUBLISHED, list(event_ids))
