"""Invitations of the user to chats of others."""

from typing import Annotated

from fastapi import APIRouter, Depends

from gateway.auth.authentication import Reader, Writer
from gateway.context import GatewayDependency
from gateway.http.requests import ChatId, JsonBody
from gateway.http.routing import StructRoute
from gateway.routes.schemas import Nothing, Page
from parley.contracts import rpc
from parley.contracts.resources import Invitation, Member

router = APIRouter(prefix="/v1/invitations", tags=["members"], route_class=StructRoute)


@router.get("")
async def list_invitations(gateway: GatewayDependency, identity: Reader) -> Page[Invitation]:
    """List the invitations of the user, the newest first."""
    return Page(items=(await gateway.store.ask(rpc.ListInvitations(user_id=identity.user_id))).items)


@router.post("/{chat_id}")
async def accept_invitation(
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    body: Annotated[Nothing, Depends(JsonBody(Nothing, optional=True))],
) -> Member:
    """Become a member of a chat."""
    return (await gateway.store.ask(rpc.AcceptInvitation(user_id=identity.user_id, chat_id=chat_id))).member


@router.delete("/{chat_id}", status_code=204)
async def decline_invitation(gateway: GatewayDependency, identity: Writer, chat_id: ChatId) -> None:
    """Decline an invitation."""
    await gateway.store.ask(rpc.DeclineInvitation(user_id=identity.user_id, chat_id=chat_id))
