"""Who may read and write a chat."""

from typing import Annotated

from fastapi import APIRouter, Depends

from gateway.auth.authentication import Reader, Writer
from gateway.context import GatewayDependency
from gateway.errors import Conflict, NotFound
from gateway.http.requests import ChatId, JsonBody, MemberId
from gateway.http.routing import StructRoute, raises
from gateway.routes.schemas import Nothing, Page
from parley.contracts import rpc
from parley.contracts.resources import Member

router = APIRouter(prefix="/v1/chats/{chat_id}/members", tags=["members"], route_class=StructRoute)


@router.get("")
async def list_members(gateway: GatewayDependency, identity: Reader, chat_id: ChatId) -> Page[Member]:
    """List the members of a chat."""
    members = await gateway.store.ask(rpc.ListMembers(user_id=identity.user_id, chat_id=chat_id))
    return Page(items=members.items)


@router.get("/{user_id}")
async def show_member(gateway: GatewayDependency, identity: Reader, chat_id: ChatId, member_id: MemberId) -> Member:
    """Show one member."""
    members = await gateway.store.ask(rpc.ListMembers(user_id=identity.user_id, chat_id=chat_id))
    for member in members.items:
        if member.user_id == member_id:
            return member
    raise NotFound("This user is not a member of the chat.")


@router.put("/{user_id}")
@raises(Conflict)
async def put_member(
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    member_id: MemberId,
    body: Annotated[Nothing, Depends(JsonBody(Nothing, optional=True))],
) -> Member:
    """Let a user read and write the chat; only its owner can."""
    request = rpc.PutMember(user_id=identity.user_id, chat_id=chat_id, member_id=member_id)
    return (await gateway.store.ask(request)).member


@router.delete("/{user_id}", status_code=204)
@raises(Conflict)
async def delete_member(gateway: GatewayDependency, identity: Writer, chat_id: ChatId, member_id: MemberId) -> None:
    """Remove a member: by the owner, or by the member."""
    await gateway.store.ask(rpc.DeleteMember(user_id=identity.user_id, chat_id=chat_id, member_id=member_id))
