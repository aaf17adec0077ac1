"""The request to erase a user."""

from datetime import UTC, datetime

from faststream.nats import NatsRouter

from chat_store.errors import NotFound
from chat_store.rpc.context import Store
from chat_store.rpc.identity.api_keys import NO_USER
from chat_store.rpc.routing import handles
from chat_store.storage.administration import audit, erasure
from chat_store.storage.identity import users
from parley.contracts import rpc
from parley.contracts.identity import Revoked
from parley.contracts.text import storable

router = NatsRouter()


@handles(router, rpc.EraseUser)
async def erase_user(request: rpc.EraseUser, store: Store) -> rpc.Done:
    user_id = storable(request.user_id)
    async with store.database.connection() as connection, connection.transaction():
        if not await users.lock_user(connection, user_id):
            raise NotFound(NO_USER)
        if await erasure.request(connection, user_id, now=datetime.now(UTC)):
            await audit.record(
                connection, audit.event("user_erased", actor_id=storable(request.actor_id), user_id=user_id)
            )
    await store.publisher.revoke(Revoked(user_id=user_id, disabled=True))
    return rpc.Done()
