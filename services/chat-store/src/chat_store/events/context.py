"""What the consumers of events and the sweeper need."""

from dataclasses import dataclass

from nats.aio.client import Client
from nats.js import JetStreamContext

from chat_store.events.publisher import Publisher
from chat_store.events.quotas import Quotas
from chat_store.storage.pool import Database


@dataclass(frozen=True, kw_only=True)
class EventContext:
    """The parts of the service that handle events.

    Attributes:
        grace: Seconds for a batch to finish after its consumer was cancelled.
    """

    nc: Client
    js: JetStreamContext
    database: Database
    publisher: Publisher
    quotas: Quotas
    grace: float
