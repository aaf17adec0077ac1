"""Messages: reading them, sending one, asking for another answer."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request

from gateway.answers.turns import NewTurn
from gateway.auth.authentication import Reader, Writer
from gateway.context import GatewayDependency
from gateway.errors import Conflict
from gateway.http.requests import Before, ChatId, JsonBody, Limit, MessageId, check_new_id
from gateway.http.routing import StructRoute, raises
from gateway.routes.schemas import Accepted, NewAnswer, NewMessage, Page, ToolDecision
from parley.contracts import rpc
from parley.contracts.ids import new_id
from parley.contracts.resources import Message
from parley.runtime import tracing

MESSAGES = "/v1/chats/{chat_id}/messages"
REGENERATE = "/{message_id}/regenerate"

router = APIRouter(prefix=MESSAGES, tags=["messages"], route_class=StructRoute)


@router.get("")
async def list_messages(
    gateway: GatewayDependency, identity: Reader, chat_id: ChatId, before: Before = None, limit: Limit = 50
) -> Page[Message]:
    """List messages from the newest page backwards, the oldest first within a page."""
    request = rpc.ListMessages(user_id=identity.user_id, chat_id=chat_id, before=before, limit=limit)
    messages = await gateway.store.ask(request)
    return Page(items=messages.items, next=messages.next)


@router.post("", status_code=202)
@raises(Conflict)
async def send_message(
    request: Request,
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    body: Annotated[NewMessage, Depends(JsonBody(NewMessage))],
) -> Accepted:
    """Accept a message: 202 once it is durable; the same ``id`` again changes nothing.

    With ``when_busy`` ``reject``: 409 ``chat_busy`` when the chat has a running answer or queued messages.
    """
    turn = NewTurn(
        chat_id=chat_id,
        message_id=check_new_id(body.id, "id") or new_id(),
        content=body.content,
        answer_id=check_new_id(body.answer_id, "answer_id"),
        parent_id=body.parent_id,
        model=body.model,
        when_busy=body.when_busy,
    )
    # Here the trace of a turn begins (or joins the caller's): the event carries it on.
    with tracing.span(f"POST {MESSAGES}", kind="server", parent=request.headers):
        await gateway.turns.submit(identity, turn)
    return Accepted(chat_id=chat_id, message_id=turn.message_id)


@router.get("/{message_id}")
async def show_message(gateway: GatewayDependency, identity: Reader, chat_id: ChatId, message_id: MessageId) -> Message:
    """Show one message; a prompt that got its 202 and was not stored is ``rejected``, with the reason."""
    request = rpc.GetMessage(user_id=identity.user_id, chat_id=chat_id, message_id=message_id)
    return (await gateway.store.ask(request)).message


@router.delete("/{message_id}", status_code=204)
@raises(Conflict)
async def delete_message(gateway: GatewayDependency, identity: Writer, chat_id: ChatId, message_id: MessageId) -> None:
    """Delete a prompt that is still queued."""
    await gateway.store.ask(rpc.DeleteMessage(user_id=identity.user_id, chat_id=chat_id, message_id=message_id))


@router.post(REGENERATE, status_code=202)
@raises(Conflict)
async def regenerate(
    request: Request,
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    message_id: MessageId,
    body: Annotated[NewAnswer, Depends(JsonBody(NewAnswer, optional=True))],
) -> Accepted:
    """Ask for another answer next to ``message_id``, an answer that ended or a prompt."""
    answer_id = check_new_id(body.id, "id") or new_id()
    with tracing.span(f"POST {MESSAGES}{REGENERATE}", kind="server", parent=request.headers):
        answer = await gateway.turns.regenerate(identity, chat_id, message_id, answer_id=answer_id, model=body.model)
    return Accepted(chat_id=chat_id, message_id=answer.id)


# A provider chooses the ids of calls: one may have a slash.
@router.post("/{message_id}/tool-calls/{call_id:path}", status_code=204)
@raises(Conflict)
async def decide_tool_call(
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    message_id: MessageId,
    call_id: str,
    body: Annotated[ToolDecision, Depends(JsonBody(ToolDecision))],
) -> None:
    """Approve or deny a tool call of the running answer ``message_id`` that waits for it. Repeated: no effect."""
    command = rpc.DecideToolCall(
        user_id=identity.user_id, chat_id=chat_id, message_id=message_id, call_id=call_id, approve=body.approve
    )
    await gateway.store.ask(command)
