"""Durable publishing: an accepted prompt is in its stream before the request is answered."""

import logging
import time

import nats.errors

from gateway.bus.connection import Bus
from gateway.bus.store_client import StoreClient
from gateway.errors import Conflict, NotFound, OutcomeUnknown, TooLarge, Unavailable
from gateway.metrics import PUBLISH_FAILURES, PUBLISH_SECONDS
from parley.contracts import rpc
from parley.contracts.events import PromptSubmitted
from parley.contracts.ids import new_id
from parley.contracts.text import storable
from parley.runtime.nats.errors import BusUnavailable
from parley.runtime.nats.publish import publish_durable

log = logging.getLogger(__name__)


class PromptPublisher:
    """Publishes prompts to the stream ``CHAT``."""

    def __init__(self, bus: Bus, store: StoreClient, deadline: float) -> None:
        self._bus = bus
        self._store = store
        self._deadline = deadline

    async def publish(self, event: PromptSubmitted) -> None:
        """Publish a prompt and return once the stream has acknowledged it: from then on it is durable.

        At least once, in order for one sender that waits for each; deduplicated by chat and message id, by the stream
        within its window and by chat-store without a limit. What the stream takes for a duplicate may be another
        message, or one that chat-store lost with a failover of Postgres: it is looked up, and published anew if needed.

        Raises:
            Conflict: the id belongs to another message.
            NotFound: it was rejected before, and the chat is still not this user's.
            Unavailable: there is no connection; nothing was sent.
            OutcomeUnknown: no acknowledgement within the deadline.
        """
        started = time.monotonic()
        try:
            await self._bus.wait_until_up(self._deadline)
            left = self._deadline - (time.monotonic() - started)
            stored = await publish_durable(self._bus.js, event, deadline=max(left, 0.5))
            if stored.duplicate and not await self._is_known(event):
                again = f"{event.id}:{new_id()}"
                await publish_durable(self._bus.js, event, msg_id=again, deadline=self._deadline)
        except nats.errors.MaxPayloadError as error:
            raise TooLarge("The message is longer than the message bus takes.") from error
        except (BusUnavailable, Unavailable) as error:
            PUBLISH_FAILURES.inc()
            self._bus.writes.failed()
            log.warning(
                "A prompt was not acknowledged", extra={"chat_id": event.chat_id, "message_id": event.message_id}
            )
            kind = OutcomeUnknown if isinstance(error, BusUnavailable) else Unavailable
            raise kind("The message could not be stored at the moment. Send it again with the same id.") from error
        self._bus.writes.worked()
        PUBLISH_SECONDS.observe(time.monotonic() - started)

    async def _is_known(self, event: PromptSubmitted) -> bool:
        """Whether chat-store has this very prompt.

        Raises:
            Conflict: it has another message with this id.
            NotFound: it has rejected this one, and would do so again.
        """
        try:
            request = rpc.GetMessage(user_id=event.user_id, chat_id=event.chat_id, message_id=event.message_id)
            known = (await self._store.ask(request)).message
        except (NotFound, Unavailable):
            # Lost, deleted, or chat-store does not reply: a second event changes nothing.
            return False
        if known.status == "rejected":
            if known.error is not None and known.error.code == "id_taken":
                raise Conflict(known.error.message)
            await self._store.require_access(event.user_id, event.chat_id, "write", refresh=True)
            return False
        if known.author_id != event.user_id or known.content != storable(event.content):
            raise Conflict("Another message has this id. Send this one with a new id.")
        return True
