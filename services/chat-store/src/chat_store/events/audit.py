"""Publishes the audit events of the outbox to the stream ``AUDIT``. Runs on the leader."""

import asyncio
import logging
from typing import Final

import msgspec

from chat_store.events.context import EventContext
from chat_store.storage.administration import audit
from parley.contracts import subjects
from parley.contracts.access.audit import AuditEvent
from parley.runtime.nats.errors import TRANSIENT_ERRORS, BusUnavailable
from parley.runtime.nats.publish import publish_durable_raw

log = logging.getLogger(__name__)

BATCH: Final = 100
DEADLINE: Final = 5.0


class AuditPublisher:
    """At least once, deduplicated by the event's id within the stream's window."""

    def __init__(self, context: EventContext) -> None:
        self._context = context

    async def publish(self) -> None:
        """Publish what the outbox has. What fails stays there."""
        while True:
            async with self._context.database.connection() as connection:
                events = await audit.unpublished(connection, limit=BATCH)
            stored = [one for one in await asyncio.gather(*map(self._publish, events)) if one is not None]
            if stored:
                async with self._context.database.connection() as connection:
                    await audit.published(connection, stored)
            if len(stored) < BATCH:
                return

    async def _publish(self, event: AuditEvent) -> str | None:
        try:
            await publish_durable_raw(
                self._context.js, subjects.audit(event.kind), msgspec.json.encode(event), event.id, deadline=DEADLINE
            )
        except (BusUnavailable, *TRANSIENT_ERRORS) as error:
            log.warning("An audit event could not be published yet: %s", error, extra={"event_id": event.id})
            return None
        return event.id
