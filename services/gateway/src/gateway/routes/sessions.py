"""Sessions and push tickets."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.authentication import (
    Identity,
    Writer,
    bearer_token,
    check_csrf,
    identify,
    set_cookie,
)
from gateway.context import Gateway, GatewayDependency
from gateway.errors import Forbidden, NotAuthenticated, TooMany, Unavailable, UnsupportedMediaType
from gateway.http.requests import JsonBody
from gateway.http.routing import StructRoute, raises
from gateway.metrics import RATE_LIMITED
from gateway.routes.schemas import NewSession, PushTicket, Session
from parley.contracts.ids import new_id
from parley.runtime.forwarded import group_of

TICKET_SECONDS = 60.0


router = APIRouter(prefix="/v1", tags=["sessions"], route_class=StructRoute)


@router.post("/session")
@raises(NotAuthenticated, Forbidden, UnsupportedMediaType, TooMany, Unavailable)
async def start_session(
    request: Request,
    gateway: GatewayDependency,
    body: Annotated[NewSession, Depends(JsonBody(NewSession, optional=True))],
    response: Response,
) -> Session:
    """Start a session as a guest, or renew the one that the request carries for its full time."""
    identity = _current(request, gateway, start_over=body.start_over)
    user_id = _new_guest(request, gateway) if identity is None else identity.user_id
    seconds = gateway.settings.session_seconds
    token, expires_at = gateway.keys.issue("session", user_id, seconds)
    request.state.user_id = user_id
    set_cookie(response, request, gateway, token, seconds)
    return Session(user_id=user_id, access_token=token, expires_at=expires_at, new_guest=identity is None)


@router.post("/push-ticket")
async def create_ticket(gateway: GatewayDependency, identity: Writer) -> PushTicket:
    """Create a ticket that authenticates one socket."""
    ticket, expires_at = gateway.keys.issue("ticket", identity.user_id, TICKET_SECONDS)
    return PushTicket(ticket=ticket, expires_at=expires_at)


def _current(request: Request, gateway: Gateway, *, start_over: bool) -> Identity | None:
    if bearer_token(request) is not None:
        return identify(request, gateway)
    if _is_from_browser(request):
        # The response contains a token and replaces the browser's cookie: no other site may cause it.
        check_csrf(request, gateway)
    try:
        return identify(request, gateway)
    except NotAuthenticated:
        # Only an explicit request replaces the user whom the cookie named.
        if start_over:
            return None
        raise


def _is_from_browser(request: Request) -> bool:
    """Whether a browser may have sent this: it sends one of these headers, and a form always has a type."""
    return not {"content-type", "cookie", "origin", "sec-fetch-site"}.isdisjoint(request.headers.keys())


def _new_guest(request: Request, gateway: Gateway) -> str:
    if not gateway.settings.guests:
        raise Forbidden("Guests are not allowed here. Sign in first.", code="guests_not_allowed")
    address = request.client.host if request.client is not None else ""
    wait = gateway.guests.admit(group_of(address), gateway.now())
    if wait:
        RATE_LIMITED.labels("guests").inc()
        raise TooMany("Too many new guests from this address. Wait a moment.", retry_after=wait)
    return new_id()
