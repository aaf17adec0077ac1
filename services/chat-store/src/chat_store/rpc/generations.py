"""Requests of llm-worker for its generations."""

from typing import Final

import msgspec
from faststream.nats import NatsRouter
from msgspec.structs import replace

from chat_store.domain import context
from chat_store.domain import generations as rules
from chat_store.domain.conversation import Conversation, check_role
from chat_store.domain.tool_rounds import StoredRound, decide, decisions_of
from chat_store.errors import Conflict, NoSuchMessage
from chat_store.rpc.context import Store, check_ids
from chat_store.rpc.routing import handles
from chat_store.storage import generations, members, messages, transactions
from chat_store.storage.transactions import Command
from parley.contracts import ids, rpc
from parley.contracts.access import policy
from parley.contracts.resources import MessageError

router = NatsRouter()

MAX_CLAIM_BYTES: Final = 1000 * 1024
"""The longest reply to a claim: a prompt always stays, and the rounds of its answer come in addition."""

_TOO_LONG: Final = MessageError(
    code="context_too_long",
    message="The message and the results of its tools are too long together. Start with a shorter message.",
    retryable=False,
)

_NOT_A_MEMBER: Final = MessageError(
    code="not_a_member", message="Whoever asked for this answer may not write here any more.", retryable=True
)


@handles(router, rpc.Claim)
async def claim(request: rpc.Claim, store: Store) -> rpc.Claimed | rpc.ClaimRefused:
    def run(conversation: Conversation) -> tuple[rules.Claimed, str | None] | None:
        claimed = rules.claim(
            conversation, request.generation_id, claim_id=request.claim_id, worker_id=request.worker_id
        )
        return None if claimed is None else (claimed, conversation.chat.system_prompt)

    if not ids.is_id(request.chat_id) or not ids.is_id(request.generation_id):
        return rpc.ClaimRefused()
    async with store.database.connection() as connection:
        outcome = await transactions.execute(connection, [Command(chat_id=request.chat_id, run=run)])
        result = outcome.results[0]
        if result is None:
            return rpc.ClaimRefused()
        claimed, system_prompt = result
        verdict, model, error = claimed.verdict, claimed.answer.model, None
        if verdict == "stream":
            user_id = claimed.generation.user_id
            # The prompt may have waited since it was accepted.
            if policy.may_in_chat(await members.role_of_enabled(connection, request.chat_id, user_id), "write"):
                model, error = await store.quotas.check_call(connection, user_id, model)
            else:
                error = _NOT_A_MEMBER
            verdict = "stream" if error is None else "exhausted"
        branch: list[context.BranchMessage] = []
        rounds: list[StoredRound] = []
        if verdict == "stream" and claimed.answer.parent_id is not None:
            branch = await messages.branch(
                connection, request.chat_id, claimed.answer.parent_id, max_bytes=context.MAX_CONTEXT_BYTES
            )
            rounds = await generations.list_tool_rounds(connection, claimed.generation.id)
    await store.publisher.announce(outcome.changes)
    reply = rpc.Claimed(
        chat_id=request.chat_id,
        generation_id=claimed.generation.id,
        message_id=claimed.answer.id,
        attempt=claimed.generation.attempt,
        verdict=verdict,
        model=model,
        context=context.fit(system_prompt, branch, budget=context.MAX_CONTEXT_BYTES - _size(rounds)),
        error=error,
        parameters=context.parameters(branch),
        rounds=[stored.round for stored in rounds],
        decisions=decisions_of(rounds),
    )
    if _size(reply) > MAX_CLAIM_BYTES:
        return replace(reply, verdict="exhausted", context=[], parameters={}, rounds=[], error=_TOO_LONG)
    return reply


@handles(router, rpc.StoreToolRound)
async def store_tool_round(request: rpc.StoreToolRound, store: Store) -> rpc.ToolRoundStored:
    check_ids(request.chat_id, request.generation_id)
    async with store.database.connection() as connection:
        decisions = await generations.store_tool_round(connection, request)
    if decisions is None:
        raise Conflict("This attempt at the answer is not the current one.")
    return rpc.ToolRoundStored(decisions=decisions)


@handles(router, rpc.DecideToolCall)
async def decide_tool_call(request: rpc.DecideToolCall, store: Store) -> rpc.Done:
    chat_id, message_id = request.chat_id, request.message_id
    check_ids(chat_id, message_id)
    async with store.database.connection() as connection, connection.transaction():
        check_role(await members.role_of(connection, chat_id, request.user_id), "write")
        generation_id = await generations.lock_active(connection, chat_id, message_id)
        if generation_id is None:
            if await messages.exists(connection, chat_id, message_id):
                raise Conflict("This answer is not running.")
            raise NoSuchMessage
        rounds = await generations.list_tool_rounds(connection, generation_id)
        decided = decide(rounds, request.call_id, approve=request.approve)
        if decided is not None:
            await generations.store_decisions(connection, generation_id, decided)
    await store.publisher.signal_decided(generation_id, request.call_id, approved=request.approve)
    return rpc.Done()


def _size(value: object) -> int:
    return len(msgspec.json.encode(value))


@handles(router, rpc.Release)
async def release(request: rpc.Release, store: Store) -> rpc.Done:
    def run(conversation: Conversation) -> None:
        rules.release(conversation, request.generation_id, request.attempt)

    if not ids.is_id(request.generation_id):
        return rpc.Done()
    async with store.database.connection() as connection:
        chat_id = await generations.chat_of_generation(connection, request.generation_id)
        if chat_id is None:
            return rpc.Done()
        outcome = await transactions.execute(connection, [Command(chat_id=chat_id, run=run)])
    await store.publisher.announce(outcome.changes)
    return rpc.Done()
