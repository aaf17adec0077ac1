"""A chat's frames as server-sent events, forwarded from push."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.auth.authentication import Reader
from gateway.context import GatewayDependency
from gateway.http.event_stream import EventStream, StreamRequest
from gateway.http.requests import ChatId
from gateway.http.routing import StructRoute


class EventStreamResponse(StreamingResponse):
    media_type = "text/event-stream"

    def __init__(self, stream: EventStream) -> None:
        # Proxies such as nginx would delay events to fill a buffer, others to compress them.
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store, no-transform"}
        super().__init__(stream.events(), headers=headers)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._stream.close()


router = APIRouter(tags=["chats"], route_class=StructRoute)


@router.get("/v1/chats/{chat_id}/stream", response_class=EventStreamResponse)
async def stream_chat(
    request: Request,
    gateway: GatewayDependency,
    identity: Reader,
    chat_id: ChatId,
    last_event_id: Annotated[str | None, Header()] = None,
    after: Annotated[str | None, Query()] = None,
) -> Response:
    """Follow a chat. Each event's ``id`` is a cursor; sent as ``Last-Event-ID``, only later events follow.

    A browser's first request cannot send that header: ``after`` is the same as a parameter.
    """
    await gateway.store.require_access(identity.user_id, chat_id)
    reading = StreamRequest.of(request, identity.principal, chat_id)
    return EventStreamResponse(await gateway.streams.open(reading, last_event_id or after))
