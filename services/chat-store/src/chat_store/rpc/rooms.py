"""Requests of push for its rooms."""

import msgspec
from faststream.nats import NatsRouter

from chat_store.domain.conversation import NO_CHAT
from chat_store.errors import NotFound
from chat_store.rpc import pages
from chat_store.rpc.context import Store, check_ids
from chat_store.rpc.routing import handles
from chat_store.storage import chats, generations, members, messages
from parley.contracts import ids, limits, rpc
from parley.contracts.resources import Message

router = NatsRouter()


@handles(router, rpc.Sync)
async def sync(request: rpc.Sync, store: Store) -> rpc.SyncReply:
    check_ids(request.chat_id)
    # One snapshot: version, members, messages and generation belong together.
    async with (
        store.database.connection() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        chat = await chats.get_chat(connection, request.chat_id)
        if chat is None:
            raise NotFound(NO_CHAT)
        roles = await members.roles(connection, request.chat_id)
        generation = await generations.get_active(connection, request.chat_id)
        used = len(msgspec.json.encode((chat, list(roles), roles)))
        changed: list[Message] | None = None
        following: str | None = None
        if request.after is not None and request.after <= chat.version:
            changed = await messages.messages_changed_since(
                connection, request.chat_id, request.after, limit=limits.MAX_PAGE, max_bytes=limits.MAX_REPLY_BYTES
            )
            if changed is not None and not pages.fits(changed, used=used):
                changed = None
        recovered = changed is not None
        if changed is None:
            page = await pages.newest(connection, request.chat_id, before=None, limit=limits.MAX_PAGE // 2, used=used)
            changed, following = page.messages, page.next
    return rpc.SyncReply(
        version=chat.version,
        recovered=recovered,
        chat=chat,
        members=list(roles),
        roles=roles,
        messages=changed,
        generation=generation,
        next=following,
    )


@handles(router, rpc.Versions)
async def versions(request: rpc.Versions, store: Store) -> rpc.VersionsReply:
    known = {chat_id: version for chat_id, version in request.chats.items() if ids.is_id(chat_id)}
    async with store.database.connection() as connection:
        moved = await chats.moved(connection, known)
    return rpc.VersionsReply(moved=moved | dict.fromkeys(request.chats.keys() - known.keys(), -1))
