"""Requests about messages and turns, Stop, and search."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from faststream.nats import NatsRouter
from msgspec.structs import replace

from chat_store.domain import cursors, generations, prompts, search
from chat_store.domain.conversation import Conversation, check_role
from chat_store.domain.cursors import BeforeHit, BeforeMessage
from chat_store.errors import Invalid, NoSuchMessage
from chat_store.rpc import pages
from chat_store.rpc.context import Store, check_ids, page_size
from chat_store.rpc.routing import handles
from chat_store.storage import members, messages
from chat_store.storage.messages import Turn
from chat_store.storage.rows import Connection
from parley.contracts import ids, limits, rpc
from parley.contracts.access import policy
from parley.contracts.resources import Message, Role
from parley.runtime import tracing

T = TypeVar("T")

router = NatsRouter()


@handles(router, rpc.ListMessages)
async def list_messages(request: rpc.ListMessages, store: Store) -> rpc.MessageList:
    check_ids(request.chat_id)
    before = cursors.decode(request.before, BeforeMessage)
    async with store.database.connection() as connection:
        check_role(await members.role_of(connection, request.chat_id, request.user_id), "read")
        page = await pages.newest(
            connection,
            request.chat_id,
            before=None if before is None else before.position,
            limit=page_size(request.limit),
            completions=request.completions,
        )
    return rpc.MessageList(items=page.messages, next=page.next, completions=page.completions)


@handles(router, rpc.GetMessage)
async def get_message(request: rpc.GetMessage, store: Store) -> rpc.MessageReply:
    async def read(connection: Connection, _: Role | None) -> Message | None:
        return await messages.get_message(connection, request.chat_id, request.message_id, user_id=request.user_id)

    return rpc.MessageReply(message=await _read(store, request, read))


@handles(router, rpc.GetTurn)
async def get_turn(request: rpc.GetTurn, store: Store) -> rpc.TurnReply:
    async def read(connection: Connection, role: Role | None) -> Turn | Message | None:
        chat_id, message_id, user_id = request.chat_id, request.message_id, request.user_id
        found = None
        if policy.may_in_chat(role, "read"):
            found = await messages.get_turn(connection, chat_id, message_id)
        if found is not None and found.prompt.author_id == user_id:
            return found
        # Also a rejected prompt that has the id of another user's message.
        return await messages.get_rejected(connection, chat_id, message_id, user_id=user_id) or found

    found: Turn | Message = await _read(store, request, read)
    if isinstance(found, Message):
        return rpc.TurnReply(prompt=found, answer=None, completion=None, chat_version=0)
    return _fitted(found, without_answer=request.without_answer)


async def _read(
    store: Store,
    request: rpc.GetMessage | rpc.GetTurn,
    read: Callable[[Connection, Role | None], Awaitable[T | None]],
) -> T:
    """Return what ``read`` finds with the user's role, also of a prompt that is accepted and not stored yet.

    Raises:
        NoSuchMessage: it finds nothing.
    """

    async def attempt() -> tuple[Role | None, T | None]:
        async with store.database.connection() as connection:
            role = await members.role_of(connection, request.chat_id, request.user_id)
            return role, await read(connection, role)

    check_ids(request.chat_id, request.message_id)
    _, found = await store.accepted.carry_out(
        request.chat_id,
        attempt,
        again=lambda result: result[1] is None,
        author_id=lambda result: None if policy.may_in_chat(result[0], "read") else request.user_id,
    )
    if found is None:
        raise NoSuchMessage
    return found


def _fitted(turn: Turn, *, without_answer: bool) -> rpc.TurnReply:
    """Return the reply, without what does not fit into it next to the answer."""
    reply = rpc.TurnReply(
        prompt=turn.prompt,
        answer=None if without_answer else turn.answer,
        completion=turn.completion,
        chat_version=turn.chat_version,
    )
    if without_answer or len(msgspec.json.encode(reply)) <= limits.MAX_REPLY_BYTES:
        return reply
    if turn.completion is not None:
        reply = replace(reply, completion=replace(turn.completion, context=[], parts=[]), cut=True)
    if len(msgspec.json.encode(reply)) <= limits.MAX_REPLY_BYTES:
        return reply
    return replace(reply, completion=None, prompt=replace(turn.prompt, content=""), cut=True)


@handles(router, rpc.Regenerate)
async def regenerate(request: rpc.Regenerate, store: Store) -> rpc.MessageReply:
    def run(conversation: Conversation) -> rpc.MessageReply:
        conversation.require(request.user_id, "write")
        answer = prompts.regenerate(
            conversation,
            request.user_id,
            request.message_id,
            answer_id=request.answer_id,
            model=request.model,
            traceparent=tracing.inject().get(tracing.TRACEPARENT),
        )
        return rpc.MessageReply(message=answer.resource())

    check_ids(request.chat_id, request.message_id)
    if not ids.is_id(request.answer_id):
        raise Invalid("An answer's id is a UUID in lower case.")
    named = [request.message_id, request.answer_id]
    return await store.change(
        request.chat_id,
        run,
        messages=named,
        users=[request.user_id],
        within=lambda connection: store.quotas.regenerating(connection, request),
    )


@handles(router, rpc.DeleteMessage)
async def delete_message(request: rpc.DeleteMessage, store: Store) -> rpc.Done:
    def run(conversation: Conversation) -> rpc.Done:
        prompts.delete_queued(conversation, request.user_id, request.message_id)
        return rpc.Done()

    check_ids(request.chat_id, request.message_id)
    return await store.change(request.chat_id, run, messages=[request.message_id], users=[request.user_id])


@handles(router, rpc.Stop)
async def stop(request: rpc.Stop, store: Store) -> rpc.Done:
    def run(conversation: Conversation) -> bool:
        conversation.require(request.user_id, "write")
        was_running = conversation.running
        generations.stop(conversation, request.message_id)
        return was_running

    named = [] if request.message_id is None else [request.message_id]
    check_ids(request.chat_id, *named)
    await store.change(
        request.chat_id,
        run,
        messages=named,
        users=[request.user_id],
        ends=True,
        # With none running, a prompt that was just accepted may be meant; a message that is named is looked for anyway.
        again=lambda was_running: not named and not was_running,
    )
    return rpc.Done()


@handles(router, rpc.Search)
async def search_messages(request: rpc.Search, store: Store) -> rpc.SearchReply:
    """Return the messages with every word of the query, first those with the query as a whole."""
    before = cursors.decode(request.before, BeforeHit)
    limit = page_size(request.limit)
    query = search.parse_query(request.query)
    if query is None:
        return rpc.SearchReply(items=[], next=None)
    found = await store.searches.run(
        request.user_id, query, search_id=request.search_id, before=before, limit=limit + 1
    )
    rows, following = pages.cut(
        found, limit, lambda last: BeforeHit(last.rank, last.created_at, last.chat_id, last.message_id)
    )
    items = [
        rpc.SearchHit(
            chat_id=row.chat_id,
            chat_title=row.chat_title,
            message_id=row.message_id,
            role=row.role,
            excerpt=search.excerpt(row.around, query),
        )
        for row in rows
    ]
    return rpc.SearchReply(items=items, next=following)
