"""Requests of llm-worker for its generations."""

from faststream.nats import NatsRouter

from chat_store.domain import context
from chat_store.domain import generations as rules
from chat_store.domain.conversation import Conversation
from chat_store.rpc.context import Store
from chat_store.rpc.routing import handles
from chat_store.storage import generations, messages, transactions
from chat_store.storage.transactions import Command
from parley.contracts import ids, rpc

router = NatsRouter()


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
            model, error = await store.quotas.check_call(connection, claimed.generation.user_id, model)
            verdict = "stream" if error is None else "exhausted"
        branch = []
        if verdict == "stream" and claimed.answer.parent_id is not None:
            branch = await messages.branch(
                connection, request.chat_id, claimed.answer.parent_id, max_bytes=context.MAX_CONTEXT_BYTES
            )
    await store.publisher.announce(outcome.changes)
    return rpc.Claimed(
        chat_id=request.chat_id,
        generation_id=claimed.generation.id,
        message_id=claimed.answer.id,
        attempt=claimed.generation.attempt,
        verdict=verdict,
        model=model,
        context=context.fit(system_prompt, branch),
        error=error,
    )


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
