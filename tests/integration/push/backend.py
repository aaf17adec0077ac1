"""chat-store and llm-worker as push sees them: answers in contracts, on a real NATS, counting what they are asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from parley.contracts import rpc, subjects
from parley.contracts.access import identity
from parley.contracts.frames import Delta, Generation, Kind
from parley.contracts.ids import new_id
from parley.contracts.live import Changed, InvitationsChanged, ListChanged, PromptRejected
from parley.runtime.nats.client import ReconnectingClient
from parley.runtime.nats.connect import wait_until_processed
from tests.unit.push.world import ChatStore


class Backend:
    """Scripted chats.

    Attributes:
        chats: By id. Change one only through the methods here, unless the change is to get lost.
        asked: How many requests of each kind came.
        revoked: Sessions, API keys and users that may not be used any more. Change it by :meth:`revoke`, unless the
            event is to get lost.
        away: While true, no request is answered.
    """

    def __init__(self, store: Nats, worker: Nats) -> None:
        self._nats = store
        self._worker = worker
        self.chats: dict[str, ChatStore] = {}
        self.asked: Counter[str] = Counter()
        self.synced: list[rpc.Sync] = []
        self.revoked: set[str] = set()
        self.away = False
        self._owned: dict[str, Subscription] = {}

    async def start(self) -> None:
        await self._nats.subscribe(subjects.rpc_store(rpc.Sync.VERB), "chat-store", cb=self._sync)
        await self._nats.subscribe(subjects.rpc_store(rpc.Versions.VERB), "chat-store", cb=self._versions)
        find_revoked = subjects.rpc_store(identity.FindRevoked.VERB)
        await self._nats.subscribe(find_revoked, "chat-store", cb=self._find_revoked)
        await wait_until_processed(self._nats)

    def new_chat(self, *members: str) -> str:
        chat_id = new_id()
        self.chats[chat_id] = ChatStore(chat_id, members or ("ann",))
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

    async def _own(self, store: ChatStore) -> None:
        assert store.ref is not None
        generation_id = store.ref.generation_id
        if generation_id in self._owned:
            return

        async def snapshot(message: Msg) -> None:
            self.asked["snapshot"] += 1
            reply = store.snapshot(generation_id)
            if reply is not None and not self.away:
                await message.respond(msgspec.json.encode(reply))

        subject = subjects.rpc_generation_snapshot(generation_id)
        self._owned[generation_id] = await self._worker.subscribe(subject, cb=snapshot)
        await wait_until_processed(self._worker)

    # --- what is asked -----------------------------------------------------------------------------------------------

    async def _sync(self, message: Msg) -> None:
        request = msgspec.json.decode(message.data, type=rpc.Sync)
        self.asked["sync"] += 1
        self.synced.append(request)
        store = self.chats.get(request.chat_id)
        await self._respond(
            message,
            rpc.RpcError(code="not_found", message="No such chat.") if store is None else store.sync(request.after),
        )

    async def _versions(self, message: Msg) -> None:
        request = msgspec.json.decode(message.data, type=rpc.Versions)
        self.asked["versions"] += 1
        moved = {}
        for chat_id, version in request.chats.items():
            store = self.chats.get(chat_id)
            if store is None or store.version != version:
                moved[chat_id] = -1 if store is None else store.version
        await self._respond(message, rpc.VersionsReply(moved=moved))

    async def _find_revoked(self, message: Msg) -> None:
        request = msgspec.json.decode(message.data, type=identity.FindRevoked)
        self.asked["find_revoked"] += 1
        reply = identity.RevokedReply(
            session_ids=[one for one in request.session_ids if one in self.revoked],
            key_ids=[one for one in request.key_ids if one in self.revoked],
            user_ids=[one for one in request.user_ids if one in self.revoked],
        )
        await self._respond(message, reply)

    async def _respond(self, message: Msg, reply: Any) -> None:
        if not self.away:
            await message.respond(msgspec.json.encode(reply))


@asynccontextmanager
async def backend_on(store_url: str, worker_url: str | None = None) -> AsyncIterator[Backend]:
    """A backend on the NATS at ``store_url``; its worker comes from there as well, or as somebody else."""
    async with _connected(store_url) as store, _connected(worker_url or store_url) as worker:
        backend = Backend(store, worker)
        await backend.start()
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
