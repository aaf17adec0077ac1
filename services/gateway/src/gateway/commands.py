"""What the gateway asks others to do by a durable event."""

import logging
import time
from datetime import UTC, datetime

import msgspec
import nats.errors

from gateway.bus import Bus
from gateway.errors import TooLarge, Unavailable
from gateway.metrics import PUBLISH_FAILURES, PUBLISH_SECONDS
from parley.contracts.events import PromptSubmitted
from parley.runtime.bus import BusUnavailable, publish_durable

log = logging.getLogger(__name__)


class Commands:
    """Publishes to the stream ``CHAT``."""

    def __init__(self, bus: Bus, deadline: float) -> None:
        self._bus = bus
        self._deadline = deadline

    async def submit_prompt(
        self,
        *,
        user_id: str,
        chat_id: str,
        message_id: str,
        content: str,
        parent_id: str | None | msgspec.UnsetType,
        model: str | None,
    ) -> None:
        """Return once the prompt is stored in the stream: from then on it cannot be lost.

        At least once, in order for one sender that waits for each; deduplicated by chat and message id, here within
        the stream's window and by chat-store for ever.

        Raises:
            Unavailable: no acknowledgement within the deadline. The prompt may still have been stored; sending the
                same message id again is safe.
        """
        event = PromptSubmitted(
            chat_id=chat_id,
            occurred_at=datetime.now(UTC),
            message_id=message_id,
            user_id=user_id,
            content=content,
            parent_id=parent_id,
            model=model,
        )
        started = time.monotonic()
        try:
            await self._bus.wait_until_up(self._deadline)
            left = self._deadline - (time.monotonic() - started)
            await publish_durable(self._bus.js, event, deadline=max(left, 0.5))
        except nats.errors.MaxPayloadError as error:
            raise TooLarge("The message is longer than the message bus takes.") from error
        except (BusUnavailable, Unavailable) as error:
            PUBLISH_FAILURES.inc()
            self._bus.writes.failed()
            log.warning("A prompt was not acknowledged", extra={"chat_id": chat_id, "message_id": message_id})
            raise Unavailable(
                "The message could not be stored at the moment. Send it again with the same id."
            ) from error
        self._bus.writes.worked()
        PUBLISH_SECONDS.observe(time.monotonic() - started)
