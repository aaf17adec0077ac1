"""The user's own data: everything as one document, and its erasure."""

import logging
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gateway.auth.authentication import Account, AccountReader, delete_session_cookies
from gateway.bus.export import Export
from gateway.context import GatewayDependency
from gateway.errors import GatewayError, TooMany
from gateway.http.requests import JsonBody
from gateway.http.routing import StructRoute
from gateway.routes.schemas import Erasure, Nothing
from parley.contracts import rpc

log = logging.getLogger(__name__)


class ExportResponse(StreamingResponse):
    """Everything of a user as JSON, written as it is read."""

    media_type = "application/json"

    def __init__(self, export: Export, running: set[str]) -> None:
        headers = {
            "Content-Disposition": 'attachment; filename="parley-export.json"',
            "Cache-Control": "no-store, no-transform",
        }
        super().__init__(export.chunks(), headers=headers)
        self._user_id = export.user_id
        self._running = running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except GatewayError as error:
            # Too late for a problem: the server closes the connection of a response that is not complete.
            log.warning("An export broke off: %s", error.detail, extra={"user_id": self._user_id})
        finally:
            self._running.discard(self._user_id)


router = APIRouter(prefix="/v1/me", tags=["account"], route_class=StructRoute)


@router.get("/export", response_class=ExportResponse)
async def export_me(gateway: GatewayDependency, identity: AccountReader) -> Response:
    """Export everything of the user as one JSON document: profile, sessions, API keys, usage, chats with messages.

    Secrets are not in it. It is complete when its last member is `"complete": true`.
    """
    if identity.user_id in gateway.exports:
        raise TooMany("An export of yours is running. Wait until it has ended.", code="export_running", retry_after=10)
    gateway.exports.add(identity.user_id)
    try:
        export = await Export.begin(gateway.store, identity.user_id)
    except BaseException:
        gateway.exports.discard(identity.user_id)
        raise
    return ExportResponse(export, gateway.exports)


@router.delete("", status_code=202)
async def erase_me(
    request: Request,
    gateway: GatewayDependency,
    identity: Account,
    body: Annotated[Erasure, Depends(JsonBody(Erasure))],
    response: Response,
) -> Nothing:
    """Erase the user: sessions and keys at once, chats and messages within minutes. This cannot be undone."""
    await gateway.store.ask(rpc.EraseUser(user_id=identity.user_id, actor_id=identity.user_id))
    delete_session_cookies(response, request, gateway)
    return Nothing()
