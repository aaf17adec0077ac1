"""``/openai/v1/chat/completions``."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.answers.events import Ended
from gateway.answers.reader import AnswerRef
from gateway.auth.authentication import Identity, ProtocolWriter
from gateway.context import Gateway, GatewayDependency
from gateway.errors import Conflict, GatewayError, NotFound
from gateway.http.event_response import EventResponse
from gateway.http.event_stream import StreamRequest
from gateway.http.requests import JsonBody, cancel_on_disconnect
from gateway.http.routing import StructRoute, raises
from gateway.protocols.openai import errors
from gateway.protocols.openai.completion_chunks import ChatCompletion, CompletionChunks, completion_of
from gateway.protocols.openai.completion_request import ChatCompletionRequest, new_turn
from gateway.protocols.openai.delivery import Delivery
from gateway.protocols.options import Options, TurnIds
from parley.runtime import tracing

PATH = "/openai/v1/chat/completions"

router = APIRouter(tags=["OpenAI"], route_class=StructRoute)


@router.post(PATH, responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}})
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
        gateway,
        identity,
        AnswerRef(chat_id=turn.chat_id, message_id=turn.message_id),
        stops=not options.detach,
        deletes=body.store is False and options.chat_id is None,
        from_key=ids.from_key,
    )
    with tracing.span(f"POST {PATH}", kind="server", parent=request.headers):
        await delivery.submit(turn, new_chat=options.chat_id is None)
    answer = _Answer(gateway, request, identity, delivery, body)
    return await (answer.stream() if body.stream else answer.whole())  # type: ignore[return-value]


class _Answer:
    """The answer to one request."""

    def __init__(
        self, gateway: Gateway, request: Request, identity: Identity, delivery: Delivery, body: ChatCompletionRequest
    ) -> None:
        self._gateway = gateway
        self._request = request
        self._identity = identity
        self._delivery = delivery
        self._body = body
        self._reader = StreamRequest.of(request, identity.principal, delivery.ref.chat_id)

    async def whole(self) -> ChatCompletion:
        ended = self._gateway.answers.wait_until_ended(self._delivery.ref, self._reader)
        try:
            message = await cancel_on_disconnect(self._request, ended)
        except ClientDisconnect:
            await self._delivery.abandon()
            raise
        except GatewayError:
            await self._delivery.give_up()
            raise
        # Also of an answer that failed.
        await self._delivery.complete()
        return completion_of(message, self._body.model)

    async def stream(self) -> Response:
        response = EventResponse(self._chunks(), error_event=errors.event, abandoned=self._delivery.abandon)
        await response.wait_for_first(self._request)
        return response

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        options = self._body.stream_options
        chunks = CompletionChunks(self._body.model, include_usage=options is not None and bool(options.include_usage))
        ended = False
        try:
            async with contextlib.aclosing(self._gateway.answers.read(self._delivery.ref, self._reader)) as events:
                async for event in events:
                    ended = isinstance(event, Ended)
                    if encoded := chunks.encode(event):
                        yield encoded
        except GatewayError:
            if not ended:
                await self._delivery.give_up()
            raise
        finally:
            if ended:  # also one that failed, which `encode` raises
                await self._delivery.complete()
