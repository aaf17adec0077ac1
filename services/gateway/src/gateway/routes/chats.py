"""Chats."""

from typing import Annotated

from fastapi import APIRouter, Depends
from msgspec import UNSET
from starlette.responses import Response

from gateway.auth.authentication import Reader, Writer
from gateway.auth.model_access import check_model
from gateway.context import GatewayDependency
from gateway.errors import Conflict, Invalid
from gateway.http.requests import (
    Before,
    ChatId,
    JsonBody,
    Limit,
    check_id,
    check_new_id,
    check_system_prompt,
    check_title,
)
from gateway.http.routing import StructRoute, raises
from gateway.routes.schemas import ChatChange, NewChat, Nothing, Page, StopAnswer
from parley.contracts import rpc
from parley.contracts.ids import is_id, new_id
from parley.contracts.resources import Chat

router = APIRouter(prefix="/v1/chats", tags=["chats"], route_class=StructRoute)


@router.get("")
async def list_chats(
    gateway: GatewayDependency, identity: Reader, before: Before = None, limit: Limit = 50
) -> Page[Chat]:
    """List the user's chats, the most recently changed first."""
    chats = await gateway.store.ask(rpc.ListChats(user_id=identity.user_id, before=before, limit=limit))
    return Page(items=chats.items, next=chats.next)


@router.post("", status_code=201)
@raises(Conflict)
async def create_chat(
    gateway: GatewayDependency,
    identity: Writer,
    body: Annotated[NewChat, Depends(JsonBody(NewChat, optional=True))],
    response: Response,
) -> Chat:
    """Create a chat, or return the one that an earlier request with the same ``id`` created."""
    request = rpc.CreateChat(
        user_id=identity.user_id,
        chat_id=check_new_id(body.id, "id") or new_id(),
        title=check_title(body.title),
        model=check_model(body.model, identity, gateway.models),
        system_prompt=check_system_prompt(body.system_prompt),
    )
    chat = (await gateway.store.ask(request)).chat
    response.headers["Location"] = f"{gateway.settings.base_path}/v1/chats/{chat.id}"
    return chat


@router.get("/{chat_id}")
async def show_chat(gateway: GatewayDependency, identity: Reader, chat_id: ChatId) -> Chat:
    """Show one chat."""
    return (await gateway.store.ask(rpc.GetChat(user_id=identity.user_id, chat_id=chat_id))).chat


@router.patch("/{chat_id}")
@raises(Conflict)
async def change_chat(
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    body: Annotated[ChatChange, Depends(JsonBody(ChatChange))],
) -> Chat:
    """Change the title, the model, the system prompt, or the branch that the chat goes on from."""
    if body.title is not UNSET:
        check_title(body.title)
    if body.model is not UNSET:
        check_model(body.model, identity, gateway.models)
    if body.system_prompt is not UNSET:
        check_system_prompt(body.system_prompt)
    if body.tip_id is not UNSET and not is_id(body.tip_id):
        raise Invalid("tip_id must be the id of a message.")
    request = rpc.UpdateChat(
        user_id=identity.user_id,
        chat_id=chat_id,
        title=body.title,
        model=body.model,
        system_prompt=body.system_prompt,
        tip_id=body.tip_id,
    )
    return (await gateway.store.ask(request)).chat


@router.delete("/{chat_id}", status_code=204)
async def delete_chat(gateway: GatewayDependency, identity: Writer, chat_id: ChatId) -> None:
    """Delete a chat of one's own with all its messages; a running answer is stopped."""
    await gateway.store.ask(rpc.DeleteChat(user_id=identity.user_id, chat_id=chat_id))


@router.post("/{chat_id}/stop", status_code=202)
async def stop_chat(
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    body: Annotated[StopAnswer, Depends(JsonBody(StopAnswer, optional=True))],
) -> Nothing:
    """Stop the running answer, if there is one; it keeps its text so far, and the next queued prompt starts.

    With ``message_id`` only that answer, or the first one to that prompt: a late or repeated stop ends no other.
    """
    message_id = check_id(body.message_id, "message_id")
    await gateway.store.ask(rpc.Stop(user_id=identity.user_id, chat_id=chat_id, message_id=message_id))
    return Nothing()
