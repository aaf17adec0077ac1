"""Sessions, the user of a session, and push tickets."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.authentication import (
    Account,
    AccountReader,
    Reader,
    TicketHolder,
    address_of,
    bearer_token,
    check_csrf,
    check_origin,
    delete_session_cookies,
    earlier_user,
    identify,
    session_cookie,
    set_session_cookie,
)
from gateway.auth.identities import Identity
from gateway.auth.sessions import logout_url, start
from gateway.context import Gateway, GatewayDependency
from gateway.errors import Forbidden, NotAuthenticated, Unavailable, UnsupportedMediaType
from gateway.http.requests import JsonBody, SessionId
from gateway.http.routing import StructRoute, raises
from gateway.routes.schemas import EndedSession, Me, NewSession, Page, PushTicket, Session, SessionSummary
from parley.contracts.access import identity as contract
from parley.contracts.access.identity import Principal
from parley.runtime.forwarded import group_of
from parley.runtime.tokens import Kind

TICKET_SECONDS = 60.0

router = APIRouter(prefix="/v1", tags=["sessions"], route_class=StructRoute)


@router.post("/session")
@raises(NotAuthenticated, Forbidden, Unavailable)
async def start_session(
    request: Request,
    gateway: GatewayDependency,
    body: Annotated[NewSession, Depends(JsonBody(NewSession, optional=True))],
    response: Response,
) -> Session:
    """Start a session as a guest, or renew the one that the request carries; the response has a new access token."""
    if bearer_token(request) is None and _is_from_browser(request):
        # The response contains a token and replaces the browser's cookie, so no other site may cause the request.
        check_csrf(request, gateway)
    earlier = earlier_user(request, gateway)
    current = None if earlier is not None else await _current(request, gateway, start_over=body.start_over)
    if current is None:
        if earlier is None:
            _check_guests(request, gateway)
        principal = await start(request, response, gateway, method="guest", user_id=earlier)
    elif current.principal.session_id is None:
        assert gateway.proxy_users is not None
        external = gateway.proxy_users.external(request)
        principal = await start(request, response, gateway, method="proxy", external=external)
    else:
        principal = current.principal
        if current.via != "bearer" and (cookie := session_cookie(request, gateway)) is not None:
            set_session_cookie(response, request, gateway, cookie)
    request.state.user_id = principal.user.id
    return _session(gateway, principal, new_guest=current is None and earlier is None)


@router.delete("/session")
@raises(Forbidden, UnsupportedMediaType, Unavailable)
async def end_session(request: Request, gateway: GatewayDependency, response: Response) -> EndedSession:
    """Sign out: end the session that the request carries, if there is one, and remove its cookie."""
    if bearer_token(request) is None:
        check_origin(request, gateway)
    delete_session_cookies(response, request, gateway)
    try:
        identity = await identify(request, gateway)
    except NotAuthenticated:
        identity = None
    if identity is None:
        return EndedSession()
    if identity.principal.session_id is not None:
        await _end(gateway, identity.principal, session_id=identity.principal.session_id)
    return EndedSession(logout_url=await logout_url(identity.principal, request, response, gateway))


@router.get("/sessions")
async def list_sessions(gateway: GatewayDependency, identity: AccountReader) -> Page[SessionSummary]:
    """List the user's sessions, the most recently used first."""
    reply = await gateway.store.ask(contract.ListSessions(user_id=identity.user_id))
    current = identity.principal.session_id
    return Page(items=[SessionSummary.of(session, current=session.id == current) for session in reply.items])


@router.delete("/sessions")
async def end_sessions(
    request: Request,
    gateway: GatewayDependency,
    identity: Account,
    response: Response,
    keep_current: Annotated[bool, Query(description="Do not end the session of this request.")] = False,
) -> EndedSession:
    """Sign out everywhere: end all sessions of the user."""
    if keep_current:
        await _end(gateway, identity.principal, except_id=identity.principal.session_id)
        return EndedSession()
    await _end(gateway, identity.principal)
    delete_session_cookies(response, request, gateway)
    return EndedSession(logout_url=await logout_url(identity.principal, request, response, gateway))


@router.delete("/sessions/{session_id}", status_code=204)
async def end_other_session(gateway: GatewayDependency, identity: Account, session_id: SessionId) -> None:
    """End one session of the user."""
    await _end(gateway, identity.principal, session_id=session_id)


@router.get("/me")
async def show_me(gateway: GatewayDependency, identity: Reader) -> Me:
    """Show the user who makes the request."""
    return Me.of(identity.principal)


@router.post("/push-ticket")
async def create_ticket(gateway: GatewayDependency, identity: TicketHolder) -> PushTicket:
    """Create a ticket that authenticates one socket."""
    ticket, expires_at = _issue(gateway, "ticket", identity.principal, TICKET_SECONDS)
    return PushTicket(ticket=ticket, expires_at=expires_at)


async def _current(request: Request, gateway: Gateway, *, start_over: bool) -> Identity | None:
    try:
        identity = await identify(request, gateway)
    except NotAuthenticated:
        # Only an explicit request replaces the user whom the cookie named.
        if start_over and bearer_token(request) is None:
            return None
        raise
    if identity is not None and identity.via == "bearer" and identity.principal.session_id is None:
        raise Forbidden("Only a session has access tokens; use the key or the token itself.", code="scope_missing")
    return identity


async def _end(gateway: Gateway, principal: Principal, **which: str | None) -> None:
    await gateway.store.ask(contract.EndSessions(user_id=principal.user.id, **which))
    # At once in this process; in others by the event of chat-store.
    gateway.identities.revoke(contract.Revoked(user_id=principal.user.id, session_id=which.get("session_id")))


def _session(gateway: Gateway, principal: Principal, *, new_guest: bool) -> Session:
    token, expires_at = _issue(gateway, "access", principal, gateway.settings.access_token_seconds)
    return Session(
        user_id=principal.user.id,
        access_token=token,
        expires_at=expires_at,
        new_guest=new_guest,
        user=Me.of(principal),
    )


def _issue(gateway: Gateway, kind: Kind, principal: Principal, seconds: float) -> tuple[str, datetime]:
    """Return a token that ends with the session or the API key, and when it expires."""
    return gateway.keys.issue(
        kind,
        principal.user.id,
        seconds,
        session_id=principal.session_id,
        key_id=principal.key_id,
        ends_at=principal.expires_at,
    )


def _is_from_browser(request: Request) -> bool:
    """Whether a browser may have sent this: it sends one of these headers, and a form always has a type."""
    return not {"content-type", "cookie", "origin", "sec-fetch-site"}.isdisjoint(request.headers.keys())


def _check_guests(request: Request, gateway: Gateway) -> None:
    if "guest" not in gateway.settings.modes:
        raise Forbidden("Guests are not allowed here. Sign in first.", code="guests_not_allowed")
    address = group_of(address_of(request))
    gateway.guests.require(address, "guests", "Too many new guests from this address. Wait a moment.")
