"""Who may read and write a chat."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from gateway.auth.authentication import Reader, Writer
from gateway.context import GatewayDependency
from gateway.errors import NotFound
from gateway.http import requests
from gateway.http.requests import json_body
from gateway.http.responses import json_response, nothing
from gateway.routes.chats import ChatId
from gateway.routes.schemas import Nothing, Page

MemberId = Annotated[str, Depends(requests.member_id)]


def add_routes(router: APIRouter) -> None:
    members = "/v1/chats/{chat_id}/members"
    router.add_api_route(members, list_members, methods=["GET"])
    router.add_api_route(f"{members}/{{user_id}}", show_member, methods=["GET"])
    router.add_api_route(f"{members}/{{user_id}}", put_member, methods=["PUT"])
    router.add_api_route(f"{members}/{{user_id}}", delete_member, methods=["DELETE"], status_code=204)


async def list_members(gateway: GatewayDependency, identity: Reader, chat_id: ChatId) -> Response:
    """List the members of a chat."""
    return json_response(Page(items=await gateway.store.list_members(identity.user_id, chat_id)))


async def show_member(gateway: GatewayDependency, identity: Reader, chat_id: ChatId, member_id: MemberId) -> Response:
    """Show one member."""
    for member in await gateway.store.list_members(identity.user_id, chat_id):
        if member.user_id == member_id:
            return json_response(member)
    raise NotFound("This user is not a member of the chat.")


async def put_member(
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    member_id: MemberId,
    body: Annotated[Nothing, Depends(json_body(Nothing, optional=True))],
) -> Response:
    """Let a user read and write the chat; only its owner can."""
    return json_response(await gateway.store.put_member(identity.user_id, chat_id, member_id))


async def delete_member(gateway: GatewayDependency, identity: Writer, chat_id: ChatId, member_id: MemberId) -> Response:
    """Remove a member (the owner), or leave (the member)."""
    await gateway.store.delete_member(identity.user_id, chat_id, member_id)
    return nothing()
