"""Messages: reading them, sending one, asking for another answer."""

from typing import Annotated

from fastapi import APIRouter, Depends
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.authentication import Reader, Writer
from gateway.context import GatewayDependency
from gateway.http import requests
from gateway.http.requests import Before, Limit, json_body, optional_id, prompt_content, storable
from gateway.http.responses import json_response, nothing
from gateway.routes.chats import ChatId
from gateway.routes.schemas import Accepted, NewAnswer, NewMessage, Page
from parley.contracts.ids import new_id
from parley.runtime import tracing

MessageId = Annotated[str, Depends(requests.message_id)]


MESSAGES = "/v1/chats/{chat_id}/messages"
REGENERATE = f"{MESSAGES}/{{message_id}}/regenerate"


def add_routes(router: APIRouter) -> None:
    router.add_api_route(MESSAGES, list_messages, methods=["GET"])
    router.add_api_route(MESSAGES, send_message, methods=["POST"], status_code=202)
    router.add_api_route(f"{MESSAGES}/{{message_id}}", show_message, methods=["GET"])
    router.add_api_route(f"{MESSAGES}/{{message_id}}", delete_message, methods=["DELETE"], status_code=204)
    router.add_api_route(REGENERATE, regenerate, methods=["POST"], status_code=202)


async def list_messages(
    gateway: GatewayDependency, identity: Reader, chat_id: ChatId, before: Before = None, limit: Limit = 50
) -> Response:
    """List messages from the newest page backwards, the oldest first within a page."""
    messages = await gateway.store.list_messages(identity.user_id, chat_id, before, limit)
    return json_response(Page(items=messages.items, next=messages.next))


async def show_message(
    gateway: GatewayDependency, identity: Reader, chat_id: ChatId, message_id: MessageId
) -> Response:
    """Show one message; a prompt that got its 202 and was not stored is ``rejected``, with the reason."""
    return json_response(await gateway.store.get_message(identity.user_id, chat_id, message_id))


async def send_message(
    request: Request,
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    body: Annotated[NewMessage, Depends(json_body(NewMessage))],
) -> Response:
    """Accept a message. The answer says 202 once it cannot be lost; the same ``id`` again changes nothing."""
    message_id = optional_id(body.id, "id") or new_id()
    if body.parent_id is not UNSET:
        optional_id(body.parent_id, "parent_id")
    content = prompt_content(body.content)
    model = storable(body.model, "model")
    # Here the trace of a turn begins (or joins the caller's): the event carries it on.
    with tracing.span(f"POST {MESSAGES}", kind="server", parent=request.headers):
        await gateway.store.require_access(identity.user_id, chat_id)
        await gateway.commands.submit_prompt(
            user_id=identity.user_id,
            chat_id=chat_id,
            message_id=message_id,
            content=content,
            parent_id=body.parent_id,
            model=model,
        )
    return json_response(Accepted(chat_id=chat_id, message_id=message_id), 202)


async def regenerate(
    request: Request,
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    message_id: MessageId,
    body: Annotated[NewAnswer, Depends(json_body(NewAnswer, optional=True))],
) -> Response:
    """Ask for another answer beside ``message_id``, an answer that ended or a prompt."""
    answer_id = optional_id(body.id, "id") or new_id()
    model = storable(body.model, "model")
    with tracing.span(f"POST {REGENERATE}", kind="server", parent=request.headers):
        answer = await gateway.store.regenerate(identity.user_id, chat_id, message_id, answer_id, model)
    return json_response(Accepted(chat_id=chat_id, message_id=answer.id), 202)


async def delete_message(
    gateway: GatewayDependency, identity: Writer, chat_id: ChatId, message_id: MessageId
) -> Response:
    """Take back a prompt that is still queued."""
    await gateway.store.delete_message(identity.user_id, chat_id, message_id)
    return nothing()
