"""API keys: made here, shown once, stored as a digest by chat-store."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends

from gateway.auth.authentication import Account, AccountReader
from gateway.context import GatewayDependency
from gateway.errors import Conflict, Invalid
from gateway.http.requests import JsonBody, KeyId, check_text
from gateway.http.routing import StructRoute, raises
from gateway.routes.schemas import CreatedApiKey, NewApiKey, Page
from parley.contracts.access import identity as contract
from parley.contracts.access.identity import ApiKey
from parley.contracts.ids import new_id
from parley.contracts.text import is_blank

_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)
"""A later time may be no date in UTC."""

router = APIRouter(prefix="/v1/api-keys", tags=["api keys"], route_class=StructRoute)


@router.get("")
async def list_api_keys(gateway: GatewayDependency, identity: AccountReader) -> Page[ApiKey]:
    """List the user's API keys, newest first."""
    return Page(items=(await gateway.store.ask(contract.ListApiKeys(user_id=identity.user_id))).items)


@router.post("", status_code=201)
@raises(Conflict)
async def create_api_key(
    gateway: GatewayDependency, identity: Account, body: Annotated[NewApiKey, Depends(JsonBody(NewApiKey))]
) -> CreatedApiKey:
    """Create an API key. Its secret is in this response and nowhere else."""
    if is_blank(body.name):
        raise Invalid("name must have a visible character.")
    check_text(body.name, "name")
    if not body.scopes:
        raise Invalid("scopes must name at least one of read, write, openai.")
    if body.expires_at is not None and not datetime.now(UTC) < body.expires_at < _LATEST:
        raise Invalid(f"expires_at must be in the future, before the year {_LATEST.year}.")
    prefix, secret = contract.new_api_key()
    reply = await gateway.store.ask(
        contract.CreateApiKey(
            user_id=identity.user_id,
            key_id=new_id(),
            name=body.name,
            prefix=prefix,
            secret_digest=contract.digest(secret),
            scopes=tuple(dict.fromkeys(body.scopes)),
            expires_at=body.expires_at,
        )
    )
    return CreatedApiKey(key=reply.key, secret=secret)


@router.delete("/{key_id}", status_code=204)
async def revoke_api_key(gateway: GatewayDependency, identity: Account, key_id: KeyId) -> None:
    """Revoke an API key."""
    await gateway.store.ask(contract.RevokeApiKey(user_id=identity.user_id, key_id=key_id))
    gateway.identities.revoke(contract.Revoked(user_id=identity.user_id, key_id=key_id))
