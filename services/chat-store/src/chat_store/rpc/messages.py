"""Requests about messages, and Stop."""

from faststream.nats import NatsRouter

from chat_store.domain import cursors, generations, prompts
from chat_store.domain.conversation import Conversation
from chat_store.domain.cursors import BeforeMessage
from chat_store.errors import Invalid, NoSuchMessage, NotFound
from chat_store.rpc import pages
from chat_store.rpc.context import NO_CHAT, Store, check_ids, page_size
from chat_store.rpc.routing import handles
from chat_store.storage import members, messages
from parley.contracts import ids, rpc
from parley.contracts.access import policy
from parley.contracts.resources import Message, Role
from parley.runtime import tracing

router = NatsRouter()


@handles(router, rpc.ListMessages)
async def list_messages(request: rpc.ListMessages, store: Store) -> rpc.MessageList:
    check_ids(request.chat_id)
    before = None if request.before is None else cursors.decode(request.before, BeforeMessage).position
    async with store.database.connection() as connection:
        role = await members.role_of(connection, request.chat_id, request.user_id)
        if not policy.may_in_chat(role, "read"):
            raise NotFound(NO_CHAT)
        page = await pages.newest(
            connection,
            request.chat_id,
            before=before,
            limit=page_size(request.limit),
            completions=request.completions,
        )
    return rpc.MessageList(items=page.messages, next=page.next, completions=page.completions)


@handles(router, rpc.GetMessage)
async def get_message(request: rpc.GetMessage, store: Store) -> rpc.MessageReply:
    role: Role | None = None

    async def read() -> Message | None:
        nonlocal role
        async with store.database.connection() as connection:
            role = await members.role_of(connection, request.chat_id, request.user_id)
            return await messages.get_message(connection, request.chat_id, request.message_id, user_id=request.user_id)

    check_ids(request.chat_id, request.message_id)
    found = await store.accepted.carry_out(
        request.chat_id,
        read,
        again=lambda message: message is None,
        author_id=lambda: None if policy.may_in_chat(role, "read") else request.user_id,
    )
    if found is None:
        raise NoSuchMessage
    return rpc.MessageReply(message=found)


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
