"""A chat-store in memory that replies as the contracts say, and counts the requests."""

from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from parley.contracts import rpc, subjects
from parley.contracts.events import GenerationFinished, PromptSubmitted
from parley.runtime.nats.connect import wait_until_processed
from parley.runtime.nats.publish import MSG_ID
from tests.support.chat_store.chats import FakeChats
from tests.support.chat_store.generations import FakeGenerations
from tests.support.chat_store.identities import FakeIdentities
from tests.support.chat_store.part import Reply
from tests.support.chat_store.rooms import FakeRooms


async def _at_once() -> None:
    pass


class FakeStore:
    """Replies on the bus while entered, or between :meth:`start` and :meth:`stop`.

    Attributes:
        identities, chats, generations, rooms: What it knows.
        asked: How often, by verb.
        last: The last request of each verb.
        refusals: What to reply instead, by verb.
        silent: Take requests and never reply.
        before_reply: Awaited between a request and its reply.
    """

    def __init__(self, nc: Client) -> None:
        self.identities = FakeIdentities()
        self.chats = FakeChats()
        self.generations: FakeGenerations[Any] = FakeGenerations()
        self.rooms = FakeRooms()
        self.asked: Counter[str] = Counter()
        self.last: dict[str, Any] = {}
        self.refusals: dict[str, rpc.RpcError] = {}
        self.silent = False
        self.before_reply: Callable[[], Awaitable[object]] = _at_once
        self._nc = nc
        self._subscriptions: list[Subscription] = []
        self._received: set[str] = set()

    async def __aenter__(self) -> "FakeStore":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        self._subscriptions = [
            await self._nc.subscribe(subjects.rpc_store("*"), "chat-store", cb=self._on_request),
            await self._nc.subscribe(subjects.ANY_PROMPT_SUBMITTED, cb=self._on_prompt),
            await self._nc.subscribe(subjects.ANY_GENERATION_FINISHED, cb=self._on_finished),
        ]
        await wait_until_processed(self._nc)

    async def stop(self) -> None:
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        await wait_until_processed(self._nc)

    def reply(self, request: rpc.StoreRequest[Any]) -> Reply:
        """Return the reply to a request."""
        for part in (self.identities, self.chats, self.generations, self.rooms):
            if (reply := part.reply(request)) is not None:
                return reply
        raise NotImplementedError(request.VERB)

    async def _on_request(self, message: Msg) -> None:
        verb = message.subject.rpartition(".")[2]
        request = msgspec.json.decode(message.data, type=rpc.STORE_REQUESTS[verb])
        self.asked[verb] += 1
        self.last[verb] = request
        if not self.silent:
            reply = self.refusals.get(verb) or self.reply(request)
            await self.before_reply()
            await message.respond(msgspec.json.encode(reply))

    async def _on_prompt(self, message: Msg) -> None:
        msg_id = (message.headers or {}).get(MSG_ID, "")
        if msg_id not in self._received:  # the stream does not store it again
            self._received.add(msg_id)
            self.chats.submit(msgspec.json.decode(message.data, type=PromptSubmitted))

    async def _on_finished(self, message: Msg) -> None:
        self.generations.finish(msgspec.json.decode(message.data, type=GenerationFinished))
