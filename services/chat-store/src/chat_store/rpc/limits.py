"""The request that reserves a place for a prompt."""

from faststream.nats import NatsRouter

from chat_store.rpc.context import Store, check_ids
from chat_store.rpc.routing import handles
from parley.contracts import rpc

router = NatsRouter()


@handles(router, rpc.AdmitPrompt)
async def admit_prompt(request: rpc.AdmitPrompt, store: Store) -> rpc.Admitted:
    check_ids(request.chat_id, request.message_id)
    limited = store.quotas.limits.limits_prompts
    if limited:
        await store.quotas.admit_prompt(request)
    return rpc.Admitted(limited=limited)
