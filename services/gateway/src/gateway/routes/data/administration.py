"""Users, and the API keys and usage of all users, for administrators."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from gateway.auth.authentication import Administrator
from gateway.context import GatewayDependency
from gateway.http.requests import Before, JsonBody, KeyId, Limit, MemberId
from gateway.http.routing import StructRoute
from gateway.routes.schemas import Nothing, Page, UserChange
from gateway.routes.usage import From, To, check_days
from parley.contracts import rpc
from parley.contracts.access import identity as contract
from parley.contracts.access.identity import User
from parley.contracts.rpc import KeyOfUser, UsageOfUser

OfUser = Annotated[str | None, Query(alias="user", max_length=200, description="Only of the user with this id.")]

router = APIRouter(prefix="/v1/admin", tags=["administration"], route_class=StructRoute)


@router.get("/users")
async def list_users(
    gateway: GatewayDependency,
    identity: Administrator,
    query: Annotated[str | None, Query(max_length=200, description="Part of an id, a name, an e-mail address.")] = None,
    before: Before = None,
    limit: Limit = 50,
) -> Page[User]:
    """List users, newest first."""
    users = await gateway.store.ask(contract.ListUsers(query=query, before=before, limit=limit))
    return Page(items=users.items, next=users.next)


@router.get("/users/{user_id}")
async def show_user(gateway: GatewayDependency, identity: Administrator, user_id: MemberId) -> User:
    """Show one user."""
    return (await gateway.store.ask(contract.GetUser(user_id=user_id))).user


@router.patch("/users/{user_id}")
async def change_user(
    gateway: GatewayDependency,
    identity: Administrator,
    user_id: MemberId,
    body: Annotated[UserChange, Depends(JsonBody(UserChange))],
) -> User:
    """Disable or enable a user, or change the role. A disabled user's sessions end within seconds."""
    request = contract.UpdateUser(user_id=user_id, actor_id=identity.user_id, disabled=body.disabled, role=body.role)
    return (await gateway.store.ask(request)).user


@router.delete("/users/{user_id}", status_code=202)
async def erase_user(gateway: GatewayDependency, identity: Administrator, user_id: MemberId) -> Nothing:
    """Erase a user: sessions and keys at once, chats and messages within minutes. This cannot be undone."""
    await gateway.store.ask(rpc.EraseUser(user_id=user_id, actor_id=identity.user_id))
    return Nothing()


@router.get("/keys")
async def list_keys(
    gateway: GatewayDependency,
    identity: Administrator,
    user_id: OfUser = None,
    before: Before = None,
    limit: Limit = 50,
) -> Page[KeyOfUser]:
    """List the API keys of all users, newest first; without their secrets."""
    keys = await gateway.store.ask(rpc.FindApiKeys(user_id=user_id, before=before, limit=limit))
    return Page(items=keys.items, next=keys.next)


@router.delete("/keys/{key_id}", status_code=204)
async def revoke_key(gateway: GatewayDependency, identity: Administrator, key_id: KeyId) -> None:
    """Revoke an API key of any user."""
    await gateway.store.ask(contract.RevokeApiKey(user_id=None, key_id=key_id, actor_id=identity.user_id))


@router.get("/usage")
async def list_usage(
    gateway: GatewayDependency,
    identity: Administrator,
    user_id: OfUser = None,
    from_day: From = None,
    to_day: To = None,
    before: Before = None,
    limit: Limit = 50,
) -> Page[UsageOfUser]:
    """Sum up the tokens of all users, by user and model; `erased` stands for all erased users."""
    check_days(from_day, to_day)
    request = rpc.ListUsage(user_id=user_id, from_day=from_day, to_day=to_day, before=before, limit=limit)
    usage = await gateway.store.ask(request)
    return Page(items=usage.items, next=usage.next)
