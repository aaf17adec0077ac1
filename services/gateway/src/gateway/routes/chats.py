"""Chats."""

from typing import Annotated

from fastapi import APIRouter, Depends
from msgspec import UNSET
from starlette.responses import Response

from gateway.auth.authentication import Reader, Writer
from gateway.context import GatewayDependency
from gateway.errors import Invalid
from gateway.http import requests
from gateway.http.requests import Before, Limit, json_body, optional_id, storable
from gateway.http.responses import json_response, nothing
from gateway.routes.schemas import ChatChange, NewChat, Nothing, Page, StopAnswer
from parley.contracts.ids import is_id, new_id
from parley.contracts.rpc import UpdateChat

ChatId = Annotated[str, Depends(requests.chat_id)]


def add_routes(router: APIRouter) -> None:
    router.add_api_route("/v1/chats", list_chats, methods=["GET"])
    router.add_api_route("/v1/chats", create_chat, methods=["POST"], status_code=201)
    router.add_api_route("/v1/chats/{chat_id}", show_chat, methods=["GET"])
    router.add_api_route("/v1/chats/{chat_id}", change_chat, methods=["PATCH"])
    router.add_api_route("/v1/chats/{chat_id}", delete_chat, methods=["DELETE"], status_code=204)
    router.add_api_route("/v1/chats/{chat_id}/stop", stop_chat, methods=["POST"], status_code=202)


async def list_chats(
    gateway: GatewayDependency, identity: Reader, before: Before = None, limit: Limit = 50
) -> Response:
    """List the user's chats, the most recently changed first."""
    chats = await gateway.store.list_chats(identity.user_id, before, limit)
    return json_response(Page(items=chats.items, next=chats.next))


async def create_chat(
    gateway: GatewayDependency,
    identity: Writer,
    body: Annotated[NewChat, Depends(json_body(NewChat, optional=True))],
) -> Response:
    """Create a chat, or find the one that an earlier request with the same ``id`` created."""
    chat = await gateway.store.create_chat(
        identity.user_id,
        optional_id(body.id, "id") or new_id(),
        requests.title(body.title),
        storable(body.model, "model"),
        requests.system_prompt(body.system_prompt),
    )
    return json_response(chat, 201, {"Location": f"{gateway.settings.base_path}/v1/chats/{chat.id}"})


async def show_chat(gateway: GatewayDependency, identity: Reader, chat_id: ChatId) -> Response:
    """Show one chat."""
    return json_response(await gateway.store.get_chat(identity.user_id, chat_id))


async def change_chat(
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    body: Annotated[ChatChange, Depends(json_body(ChatChange))],
) -> Response:
    """Change the title, the model, the system prompt, or the branch that the chat goes on from."""
    if body.title is not UNSET:
        requests.title(body.title)
    if body.model is not UNSET:
        storable(body.model, "model")
    if body.system_prompt is not UNSET:
        requests.system_prompt(body.system_prompt)
    if body.tip_id is not UNSET and not is_id(body.tip_id):
        raise Invalid("tip_id must be the id of a message.")
    change = UpdateChat(
        user_id=identity.user_id,
        chat_id=chat_id,
        title=body.title,
        model=body.model,
        system_prompt=body.system_prompt,
        tip_id=body.tip_id,
    )
    return json_response(await gateway.store.update_chat(change))


async def delete_chat(gateway: GatewayDependency, identity: Writer, chat_id: ChatId) -> Response:
    """Delete a chat of one's own, with all that was said; a running answer is stopped."""
    await gateway.store.delete_chat(identity.user_id, chat_id)
    return nothing()


async def stop_chat(
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    body: Annotated[StopAnswer, Depends(json_body(StopAnswer, optional=True))],
) -> Response:
    """Stop the running answer, if there is one; it keeps what was said, and the next queued prompt starts.

    With ``message_id`` only that answer, or the first one to that prompt: a late or repeated stop ends no other.
    """
    await gateway.store.stop(identity.user_id, chat_id, optional_id(body.message_id, "message_id"))
    return json_response(Nothing(), 202)
