"""Sessions and push tickets."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.addresses import client_key
from gateway.answers import json_response
from gateway.auth import Identity, Writer, identify, refuse_other_sites, set_cookie
from gateway.bodies import Nothing, PushTicket, Session
from gateway.context import Gateway, GatewayDependency
from gateway.errors import Forbidden, NotAuthenticated, TooMany
from gateway.metrics import RATE_LIMITED
from gateway.requests import json_body
from parley.contracts.ids import new_id
from parley.runtime.tokens import issue

TICKET_SECONDS = 60.0


def add_routes(router: APIRouter) -> None:
    router.add_api_route("/v1/session", start_session, methods=["POST"])
    router.add_api_route("/v1/push-ticket", give_ticket, methods=["POST"])


async def start_session(
    request: Request, gateway: GatewayDependency, body: Annotated[Nothing, Depends(json_body(Nothing, optional=True))]
) -> Response:
    """Start a session as a guest, or go on with the one that the request carries, from now for its full time."""
    identity = _current(request, gateway)
    user_id = _new_guest(request, gateway) if identity is None else identity.user_id
    seconds = gateway.settings.session_seconds
    token, expires_at = issue(gateway.key, "session", user_id, seconds)
    request.state.user_id = user_id
    response = json_response(Session(user_id=user_id, access_token=token, expires_at=expires_at))
    set_cookie(response, request, token, seconds)
    return response


async def give_ticket(gateway: GatewayDependency, identity: Writer) -> Response:
    """Give a ticket to authenticate a socket with."""
    ticket, expires_at = issue(gateway.key, "ticket", identity.user_id, TICKET_SECONDS)
    return json_response(PushTicket(ticket=ticket, expires_at=expires_at))


def _current(request: Request, gateway: Gateway) -> Identity | None:
    try:
        identity = identify(request, gateway.key)
    except NotAuthenticated:
        # A program is told that its token is bad. A page cannot even read its cookie, let alone drop it.
        if "authorization" in request.headers:
            raise
        return None
    if identity is not None and identity.via == "cookie":
        # The answer holds the token: no other site may have it made.
        refuse_other_sites(request, gateway)
    return identity


def _new_guest(request: Request, gateway: Gateway) -> str:
    if not gateway.settings.guests:
        raise Forbidden("Guests are not admitted here. Sign in first.", code="guests_not_allowed")
    address = request.client.host if request.client is not None else ""
    wait = gateway.guests.admit(client_key(address), gateway.now())
    if wait:
        RATE_LIMITED.labels("guests").inc()
        raise TooMany("Too many new guests from this address. Wait a moment.", retry_after=wait)
    return new_id()
