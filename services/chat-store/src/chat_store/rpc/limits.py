"""Requests about the limits of users and what they used."""

from faststream.nats import NatsRouter

from chat_store.rpc.context import Store, check_ids
from chat_store.rpc.routing import handles
from chat_store.storage import usage
from parley.contracts import rpc

router = NatsRouter()


@handles(router, rpc.AdmitPrompt)
async def admit_prompt(request: rpc.AdmitPrompt, store: Store) -> rpc.Admitted:
    check_ids(request.chat_id, request.message_id)
    limited = store.quotas.limits.limits_prompts
    if limited:
        await store.quotas.admit_prompt(request)
    return rpc.Admitted(limited=limited)


@handles(router, rpc.GetUsage)
async def get_usage(request: rpc.GetUsage, store: Store) -> rpc.UsageReply:
    async with store.database.connection() as connection:
        return rpc.UsageReply(items=await usage.get_usage(connection, request))
