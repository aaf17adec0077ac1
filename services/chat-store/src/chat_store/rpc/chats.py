"""Requests about chats."""

from datetime import UTC, datetime

import msgspec
from faststream.nats import NatsRouter

from chat_store.domain import chats as rules
from chat_store.domain import cursors
from chat_store.domain.conversation import NO_CHAT, Conversation, check_role
from chat_store.domain.cursors import BeforeChat
from chat_store.errors import Conflict, Invalid, NoSuchMessage, NotFound
from chat_store.rpc import pages
from chat_store.rpc.context import Store, check_ids, page_size
from chat_store.rpc.routing import handles
from chat_store.storage import chats, members
from chat_store.storage.administration import audit
from parley.contracts import ids, limits, rpc

router = NatsRouter()


@handles(router, rpc.CheckAccess)
async def check_access(request: rpc.CheckAccess, store: Store) -> rpc.AccessReply:
    check_ids(request.chat_id)
    async with store.database.connection() as connection:
        role = await members.role_of(connection, request.chat_id, request.user_id)
    return rpc.AccessReply(role=check_role(role, request.action))


@handles(router, rpc.CreateChat)
async def create_chat(request: rpc.CreateChat, store: Store) -> rpc.ChatReply:
    if not ids.is_id(request.chat_id):
        raise Invalid("A chat's id is a UUID in lower case.")
    async with (
        store.database.connection() as connection,
        store.quotas.creating_chat(connection, request.chat_id, request.user_id),
    ):
        created = await chats.create_chat(
            connection,
            request.chat_id,
            owner_id=request.user_id,
            title=request.title,
            model=request.model,
            system_prompt=request.system_prompt,
            now=datetime.now(UTC),
        )
        chat = await chats.get_chat(connection, request.chat_id)
    if chat is None or chat.owner_id != request.user_id:
        raise Conflict("This chat id has been used.")
    if created:
        await store.publisher.announce_new(chat)
    return rpc.ChatReply(chat=chat)


@handles(router, rpc.GetChat)
async def get_chat(request: rpc.GetChat, store: Store) -> rpc.ChatReply:
    check_ids(request.chat_id)
    async with store.database.connection() as connection:
        chat = await chats.get_chat(connection, request.chat_id, user_id=request.user_id)
    if chat is None:
        raise NotFound(NO_CHAT)
    return rpc.ChatReply(chat=chat)


@handles(router, rpc.ListChats)
async def list_chats(request: rpc.ListChats, store: Store) -> rpc.ChatList:
    before = cursors.decode(request.before, BeforeChat) or BeforeChat.first_page()
    limit = page_size(request.limit)
    async with store.database.connection() as connection:
        found = await chats.list_chats(connection, request.user_id, before=before, limit=limit + 1)
    size = min(limit, len(found))
    while size > 1 and len(msgspec.json.encode(found[:size])) > limits.MAX_REPLY_BYTES:
        size //= 2
    items, following = pages.cut(found, size, lambda last: BeforeChat(last.updated_at, last.id))
    return rpc.ChatList(items=items, next=following)


@handles(router, rpc.UpdateChat)
async def update_chat(request: rpc.UpdateChat, store: Store) -> rpc.ChatReply:
    def run(conversation: Conversation) -> rpc.ChatReply:
        conversation.require(request.user_id, "rename")
        rules.update(conversation, request)
        return rpc.ChatReply(chat=conversation.chat.resource(running=conversation.running))

    tip = [request.tip_id] if isinstance(request.tip_id, str) else []
    check_ids(request.chat_id, *tip)
    try:
        return await store.change(request.chat_id, run, messages=tip, users=[request.user_id])
    except NoSuchMessage as missing:
        raise Invalid("The tip must be a message of this chat.") from missing


@handles(router, rpc.DeleteChat)
async def delete_chat(request: rpc.DeleteChat, store: Store) -> rpc.Done:
    def run(conversation: Conversation) -> rpc.Done:
        conversation.require(request.user_id, "delete")
        rules.delete(conversation)
        return rpc.Done()

    check_ids(request.chat_id)
    deleted = audit.event("chat_deleted", actor_id=request.user_id, chat_id=request.chat_id, reason="owner")
    try:
        return await store.change(request.chat_id, run, users=[request.user_id], audited=lambda _: deleted)
    except NotFound:
        async with store.database.connection() as connection:
            if await chats.owner_of_deleted(connection, request.chat_id) == request.user_id:
                return rpc.Done()
        raise
