"""chat-store and llm-worker as push sees them, on a real NATS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from parley.contracts import subjects
from parley.contracts.access import identity
from parley.contracts.frames import Delta, Generation, Kind
from parley.contracts.ids import new_id
from parley.contracts.live import Changed, InvitationsChanged, ListChanged, PromptRejected
from parley.runtime.nats.client import ReconnectingClient
from parley.runtime.nats.connect import wait_until_processed
from tests.support.chat_store.fake import FakeStore
from tests.support.chat_store.scripted_chat import ScriptedChat


class Backend:
    """Scripted chats.

    Attributes:
        chats: By id. Change one only through the methods here, unless the change is to get lost.
        store: The fake that replies. While it is ``silent``, the worker is, too.
        asked: How many requests of each kind came.
        revoked: Sessions, API keys and users that may not be used any more. Change it by :meth:`revoke`, unless the
            event is to get lost.
    """

    def __init__(self, store: Nats, worker: Nats) -> None:
        self._nats = store
        self._worker = worker
        self.store = FakeStore(store)
        self.chats = self.store.rooms.chats
        self.asked = self.store.asked
        self.revoked = self.store.identities.revoked = set[str]()
        self._owned: dict[str, Subscription] = {}

    def new_chat(self, *members: str) -> str:
        chat_id = new_id()
        self.chats[chat_id] = ScriptedChat(chat_id, members or ("ann",))
        return chat_id

    # --- what happens ------------------------------------------------------------------------------------------------

    async def submit(self, chat_id: str) -> None:
        await self.publish(self.chats[chat_id].submit())

    async def claim(self, chat_id: str, *, announced: bool = False) -> None:
        """A worker takes the answer, or takes it over."""
        store = self.chats[chat_id]
        changed, started = store.claim(announced=announced)
        await self._own(store)
        await self.publish(changed)
        await self.publish(started)

    async def say(self, chat_id: str, chunks: int = 1, kind: Kind = "text") -> Delta:
        delta = self.chats[chat_id].say(kind, chunks)
        await self.publish(delta)
        return delta

    async def finish(self, chat_id: str) -> None:
        store = self.chats[chat_id]
        assert store.ref is not None
        await self.disown(chat_id)
        await self.publish(store.finish())

    async def answer(self, chat_id: str, tokens: int) -> None:
        """A whole turn."""
        await self.submit(chat_id)
        await self.claim(chat_id)
        for _ in range(tokens):
            await self.say(chat_id)
        await self.finish(chat_id)

    async def publish(self, live: Changed | Generation | Delta | PromptRejected | None) -> None:
        match live:
            case Changed():
                subject = subjects.live_changed(live.chat_id)
            case PromptRejected():
                subject = subjects.live_rejected(live.chat_id)
            case Generation():
                subject = subjects.live_generation(live.chat_id)
            case Delta():
                subject = subjects.live_delta(live.chat_id)
            case None:
                return
        connection = self._nats if isinstance(live, Changed | PromptRejected) else self._worker
        await connection.publish(subject, msgspec.json.encode(live))
        await wait_until_processed(connection)

    async def revoke(self, revoked: identity.Revoked) -> None:
        """Revoke a session, an API key, or everything of a user."""
        self.revoked.add(revoked.session_id or revoked.key_id or revoked.user_id)
        await self._nats.publish(subjects.CTL_IDENTITY_REVOKED, msgspec.json.encode(revoked))
        await wait_until_processed(self._nats)

    async def tell_list(self, user_id: str, *changes: ListChanged | InvitationsChanged | bytes) -> None:
        for changed in changes:
            payload = changed if isinstance(changed, bytes) else msgspec.json.encode(changed)
            await self._nats.publish(subjects.user_chats(user_id), payload)
        await wait_until_processed(self._nats)

    async def disown(self, chat_id: str) -> None:
        """The worker of the running answer is gone."""
        ref = self.chats[chat_id].ref
        assert ref is not None
        if (subscription := self._owned.pop(ref.generation_id, None)) is not None:
            await subscription.unsubscribe()
            await wait_until_processed(self._worker)

    async def _own(self, store: ScriptedChat) -> None:
        assert store.ref is not None
        generation_id = store.ref.generation_id
        if generation_id in self._owned:
            return

        async def snapshot(message: Msg) -> None:
            self.asked["snapshot"] += 1
            reply = store.snapshot(generation_id)
            if reply is not None and not self.store.silent:
                await message.respond(msgspec.json.encode(reply))

        subject = subjects.rpc_generation_snapshot(generation_id)
        self._owned[generation_id] = await self._worker.subscribe(subject, cb=snapshot)
        await wait_until_processed(self._worker)


@asynccontextmanager
async def backend_on(store_url: str, worker_url: str | None = None) -> AsyncIterator[Backend]:
    """A backend on the NATS at ``store_url``; its worker comes from there as well, or as somebody else."""
    async with _connected(store_url) as store, _connected(worker_url or store_url) as worker:
        backend = Backend(store, worker)
        await backend.store.start()
        yield backend


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Nats]:
    connection = ReconnectingClient()
    await connection.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=_ignore)
    try:
        yield connection
    finally:
        await asyncio.wait_for(connection.close(), 10)


async def _ignore(_: Exception) -> None:
    pass
