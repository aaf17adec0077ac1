"""``/openai/v1/chat/completions``."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request

from gateway.answers.events import Ended
from gateway.answers.reader import AnswerRef
from gateway.auth.authentication import ProtocolWriter
from gateway.context import GatewayDependency
from gateway.errors import Conflict, GatewayError, NotFound
from gateway.http.event_response import EventResponse
from gateway.http.requests import JsonBody
from gateway.http.routing import StructRoute, raises
from gateway.protocols.openai import errors
from gateway.protocols.openai.completion_chunks import ChatCompletion, CompletionChunks, completion_of
from gateway.protocols.openai.completion_request import ChatCompletionRequest, new_turn
from gateway.protocols.openai.delivery import STREAMED, Delivery
from gateway.protocols.options import Options, TurnIds
from parley.runtime import tracing

PATH = "/openai/v1/chat/completions"

router = APIRouter(tags=["OpenAI"], route_class=StructRoute)


@router.post(PATH, responses=STREAMED)
@raises(NotFound, Conflict)
async def create_chat_completion(
    request: Request,
    gateway: GatewayDependency,
    identity: ProtocolWriter,
    body: Annotated[ChatCompletionRequest, Depends(JsonBody(ChatCompletionRequest))],
) -> ChatCompletion:
    """Answer a conversation, whole or as a stream of server-sent events (``stream``)."""
    options = Options.of(request.headers, body.metadata)
    ids = TurnIds.of(identity.user_id, request.headers)
    turn = new_turn(body, ids, options)
    delivery = Delivery(
        gateway=gateway,
        request=request,
        identity=identity,
        ref=AnswerRef(chat_id=turn.chat_id, message_id=turn.message_id),
        stops=not options.detach,
        deletes=body.store is False and options.chat_id is None,
        from_key=ids.from_key,
    )
    with tracing.span(f"POST {PATH}", kind="server", parent=request.headers):
        await delivery.submit(turn, new_chat=options.chat_id is None)
    if body.stream:
        response = EventResponse(_chunks(delivery, body), error_event=errors.event, abandoned=delivery.abandon)
        await response.wait_for_first(request)
        return response  # type: ignore[return-value]
    async with delivery.whole():
        message = await delivery.wait()
    return completion_of(message, body.model)


async def _chunks(delivery: Delivery, body: ChatCompletionRequest) -> AsyncGenerator[bytes, None]:
    options = body.stream_options
    chunks = CompletionChunks(body.model, include_usage=options is not None and bool(options.include_usage))
    ended = False
    try:
        async with delivery.events() as events:
            async for event in events:
                ended = isinstance(event, Ended)
                if encoded := chunks.encode(event):
                    yield encoded
    except GatewayError:
        if not ended:
            await delivery.give_up()
        raise
    finally:
        if ended:  # also one that failed, which `encode` raises
            await delivery.complete()
