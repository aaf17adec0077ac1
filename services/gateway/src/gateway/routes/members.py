"""Members of a chat, their roles, and the owner."""

from typing import Annotated

from fastapi import APIRouter, Depends

from gateway.auth.authentication import Reader, Writer
from gateway.context import GatewayDependency
from gateway.errors import Conflict, NotFound
from gateway.http.requests import ChatId, JsonBody, MemberId
from gateway.http.routing import StructRoute, raises
from gateway.routes.schemas import NewMember, NewOwner, Page
from parley.contracts import rpc
from parley.contracts.resources import Chat, Member

router = APIRouter(prefix="/v1/chats/{chat_id}", tags=["members"], route_class=StructRoute)


@router.get("/members")
async def list_members(gateway: GatewayDependency, identity: Reader, chat_id: ChatId) -> Page[Member]:
    """List the members of a chat."""
    members = await gateway.store.ask(rpc.ListMembers(user_id=identity.user_id, chat_id=chat_id))
    return Page(items=members.items)


@router.get("/members/{user_id}")
async def show_member(gateway: GatewayDependency, identity: Reader, chat_id: ChatId, member_id: MemberId) -> Member:
    """Show one member."""
    members = await gateway.store.ask(rpc.ListMembers(user_id=identity.user_id, chat_id=chat_id))
    for member in members.items:
        if member.user_id == member_id:
            return member
    raise NotFound("This user is not a member of the chat.")


@router.put("/members/{user_id}")
@raises(Conflict)
async def put_member(
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    member_id: MemberId,
    body: Annotated[NewMember, Depends(JsonBody(NewMember, optional=True))],
) -> Member:
    """Invite a user, or change the role of a member; only the chat's owner can."""
    request = rpc.PutMember(user_id=identity.user_id, chat_id=chat_id, member_id=member_id, role=body.role)
    return (await gateway.store.ask(request)).member


@router.delete("/members/{user_id}", status_code=204)
@raises(Conflict)
async def delete_member(gateway: GatewayDependency, identity: Writer, chat_id: ChatId, member_id: MemberId) -> None:
    """Remove a member or withdraw an invitation: by the owner, or by the member."""
    await gateway.store.ask(rpc.DeleteMember(user_id=identity.user_id, chat_id=chat_id, member_id=member_id))


@router.put("/owner")
@raises(Conflict)
async def hand_over(
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    body: Annotated[NewOwner, Depends(JsonBody(NewOwner))],
) -> Chat:
    """Make a member the owner of the chat; the owner before becomes a writer."""
    request = rpc.HandOver(user_id=identity.user_id, chat_id=chat_id, member_id=body.user_id)
    return (await gateway.store.ask(request)).chat
