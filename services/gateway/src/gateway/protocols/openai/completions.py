"""``/openai/v1/chat/completions``."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from gateway.answers.events import Ended
from gateway.answers.reader import AnswerRef
from gateway.answers.turns import NewTurn
from gateway.auth.authentication import Identity, ProtocolWriter
from gateway.context import Gateway, GatewayDependency
from gateway.errors import Conflict, GatewayError, NotFound, OutcomeUnknown
from gateway.http.event_response import EventResponse
from gateway.http.event_stream import StreamRequest
from gateway.http.requests import JsonBody, cancel_on_disconnect
from gateway.http.routing import StructRoute, raises
from gateway.protocols.openai import errors
from gateway.protocols.openai.completion_chunks import ChatCompletion, CompletionChunks, completion_of
from gateway.protocols.openai.completion_request import ChatCompletionRequest, new_turn
from gateway.protocols.options import Options, TurnIds
from parley.contracts.resources import Message
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
    answer = _Answer(gateway, request, identity, new_turn(body, ids, options), body, from_key=ids.from_key)
    with tracing.span(f"POST {PATH}", kind="server", parent=request.headers):
        await answer.submit()
    return await (answer.stream() if body.stream else answer.whole())  # type: ignore[return-value]


class _Answer:
    """The answer to one request.

    Args:
        from_key: The same request again returns the same answer.
    """

    def __init__(
        self,
        gateway: Gateway,
        request: Request,
        identity: Identity,
        turn: NewTurn,
        body: ChatCompletionRequest,
        *,
        from_key: bool,
    ) -> None:
        self._gateway = gateway
        self._request = request
        self._identity = identity
        self._turn = turn
        self._body = body
        self._from_key = from_key
        self._options = Options.of(request.headers, body.metadata)
        self._ref = AnswerRef(chat_id=turn.chat_id, message_id=turn.message_id)
        reader = StreamRequest.of(request, identity.principal, turn.chat_id)
        self._events = gateway.answers.read(self._ref, reader)

    async def submit(self) -> None:
        try:
            await self._gateway.turns.submit(self._identity, self._turn, new_chat=self._options.chat_id is None)
        except OutcomeUnknown:
            await self._give_up()
            raise

    async def whole(self) -> ChatCompletion:
        try:
            message = await cancel_on_disconnect(self._request, self._last_message())
        except ClientDisconnect:
            await self._abandon()
            raise
        except GatewayError:
            await self._give_up()
            raise
        # Also of an answer that failed.
        await self._deliver()
        return completion_of(message, self._body.model)

    async def stream(self) -> Response:
        response = EventResponse(self._chunks(), error_event=errors.event, abandoned=self._abandon)
        await response.wait_for_first(self._request)
        return response

    async def _last_message(self) -> Message:
        async with contextlib.aclosing(self._events) as events:
            async for event in events:
                if isinstance(event, Ended):
                    return event.message
        raise AssertionError("an answer ends")

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        options = self._body.stream_options
        chunks = CompletionChunks(self._body.model, include_usage=options is not None and bool(options.include_usage))
        ended = False
        try:
            async with contextlib.aclosing(self._events) as events:
                async for event in events:
                    ended = isinstance(event, Ended)
                    if encoded := chunks.encode(event):
                        yield encoded
        except GatewayError:
            if not ended:
                await self._give_up()
            raise
        finally:
            if ended:  # also one that failed, which `encode` raises
                await self._deliver()

    async def _give_up(self) -> None:
        """Stop an answer that cannot be read to its end, unless the client, who is about to know, can ask for it again:
        the SDKs send the request again by themselves."""
        if not self._from_key:
            await self._abandon()

    async def _abandon(self) -> None:
        """Stop the answer: nobody reads it."""
        if self._options.detach:
            return
        with contextlib.suppress(GatewayError):
            await self._gateway.turns.stop(self._identity, self._ref)
        await self._deliver()

    async def _deliver(self) -> None:
        """Delete the chat of an answer that is not to be stored, if the chat was made for it."""
        if self._body.store is False and self._options.chat_id is None:
            with contextlib.suppress(GatewayError):
                await self._gateway.turns.delete(self._identity, self._ref)
