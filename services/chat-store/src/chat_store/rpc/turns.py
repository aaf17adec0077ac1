"""The request that reads a turn."""

import msgspec
from faststream.nats import NatsRouter
from msgspec.structs import replace

from chat_store.errors import NoSuchMessage
from chat_store.rpc.context import Store, check_ids
from chat_store.rpc.routing import handles
from chat_store.storage import members, messages
from chat_store.storage.messages import Turn
from parley.contracts import limits, rpc
from parley.contracts.access import policy
from parley.contracts.resources import Message, Role

router = NatsRouter()


@handles(router, rpc.GetTurn)
async def get_turn(request: rpc.GetTurn, store: Store) -> rpc.TurnReply:
    role: Role | None = None

    async def read() -> Turn | Message | None:
        nonlocal role
        chat_id, message_id, user_id = request.chat_id, request.message_id, request.user_id
        async with store.database.connection() as connection:
            role = await members.role_of(connection, chat_id, user_id)
            found = None
            if policy.may_in_chat(role, "read"):
                found = await messages.get_turn(connection, chat_id, message_id)
            if found is not None and found.prompt.author_id == user_id:
                return found
            # Also a rejected prompt that has the id of another user's message.
            return await messages.get_rejected(connection, chat_id, message_id, user_id=user_id) or found

    check_ids(request.chat_id, request.message_id)
    found = await store.accepted.carry_out(
        request.chat_id,
        read,
        again=lambda turn: turn is None,
        author_id=lambda: None if policy.may_in_chat(role, "read") else request.user_id,
    )
    match found:
        case Turn():
            return _fitted(found, without_answer=request.without_answer)
        case Message():
            return rpc.TurnReply(prompt=found, answer=None, completion=None, chat_version=0)
        case None:
            raise NoSuchMessage


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
