"""Authentication by a bearer token (programs) or by the session's cookie (the page)."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.audit import Method
from gateway.auth.identities import Identity
from gateway.context import Gateway, GatewayDependency
from gateway.errors import Forbidden, NotAuthenticated, OtherUser, Unavailable, UnsupportedMediaType
from gateway.http.problems import request_id_of
from gateway.http.requests import is_json
from gateway.http.routing import raises
from parley.contracts.access import policy
from parley.contracts.access.identity import API_KEY_PREFIX, External, Principal
from parley.contracts.access.policy import AccountAction
from parley.runtime.tokens import Claims, Kind, TokenExpired, TokenInvalid, TokenNotYet

_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
"""The form of a session's secret. chat-store is not asked about any other value of the cookie."""

_JWT: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)


async def identify(request: Request, gateway: Gateway) -> Identity | None:
    """Return who makes the request, or None when it carries neither a token nor a cookie, and no proxy names a user.

    A token takes precedence over the proxy's user, and that over the cookie, which may be an earlier user's.

    Raises:
        NotAuthenticated: the token or the cookie is forged, damaged or expired, or its session has ended.
        Forbidden: the user is disabled.
        Unavailable: chat-store does not reply, or the clock of the gateway that issued the token is far ahead.
    """
    token = bearer_token(request)
    if token is not None:
        method = _method_of(token, gateway)
        async with _audited(request, gateway, method):
            return Identity(await _principal_of_token(token, method, gateway), "bearer")
    if gateway.proxy_users is not None:
        async with _audited(request, gateway, "proxy"):
            if (named := gateway.proxy_users.external(request)) is not None:
                return Identity(await _principal_of_proxy(named, request, gateway), "proxy")
    cookie = session_cookie(request, gateway)
    return None if cookie is None else Identity(await _principal_of_cookie(cookie, gateway), "cookie")


def _method_of(token: str, gateway: Gateway) -> Method | None:
    """Return how a bearer token signs its user in; None for an access token, whose session was signed in before."""
    if token.startswith(API_KEY_PREFIX):
        return "api_key"
    return "jwt" if gateway.foreign_tokens is not None and not gateway.keys.issued(token) else None


@asynccontextmanager
async def _audited(request: Request, gateway: Gateway, method: Method | None) -> AsyncIterator[None]:
    """Publish an audit event when a sign-in by ``method`` is refused."""
    try:
        yield
    except (NotAuthenticated, Forbidden) as refusal:
        if method is not None:
            await gateway.audit.sign_in_refused(
                method,
                refusal.code,
                address=address_of(request),
                request_id=request_id_of(request),
                cause=refusal.__cause__,
            )
        raise


async def _principal_of_cookie(cookie: str, gateway: Gateway) -> Principal:
    if _SECRET.fullmatch(cookie) is None:
        raise NotAuthenticated("The session has ended. Start a new one.", code="session_ended")
    return await gateway.identities.by_session_secret(cookie)


async def _principal_of_proxy(named: External, request: Request, gateway: Gateway) -> Principal:
    """Return the principal of the user whom the proxy names, or of the browser's session if it is that user's."""
    assert gateway.proxy_users is not None
    principal = await gateway.proxy_users.find(named)
    session = await session_before(request, gateway)
    return principal if session is None or session.user.id != principal.user.id else session


async def session_before(request: Request, gateway: Gateway) -> Principal | None:
    """Return the principal of the browser's session; None when it has none, or one that has ended.

    Raises:
        Unavailable: chat-store does not answer.
    """
    cookie = session_cookie(request, gateway)
    if cookie is None:
        return None
    try:
        return await _principal_of_cookie(cookie, gateway)
    except (NotAuthenticated, Forbidden):
        return None


async def _principal_of_token(token: str, method: Method | None, gateway: Gateway) -> Principal:
    if method == "api_key":
        return await gateway.identities.by_api_key(token)
    if method == "jwt":
        assert gateway.foreign_tokens is not None
        return await gateway.foreign_tokens.find(token)
    try:
        claims = _verify(token, "access", gateway)
    except TokenExpired:
        raise NotAuthenticated("The access token has expired. Get a new one.", code="token_expired") from None
    except TokenInvalid:
        raise NotAuthenticated("The token is not valid.", code="token_invalid") from None
    if claims.session_id is None:
        raise NotAuthenticated("The token is not valid.", code="token_invalid")
    return await gateway.identities.by_session_id(claims.session_id)


def address_of(request: Request) -> str:
    """Return the client's address, as trusted proxies forwarded it."""
    return request.client.host if request.client is not None else ""


def bearer_token(request: Request) -> str | None:
    """Return the request's bearer token. Another scheme belongs to a proxy in front of us and is ignored."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def session_cookie(request: Request, gateway: Gateway) -> str | None:
    """Return the session's cookie. Each key gives it another name; that of the newest key is used."""
    return next(filter(None, map(request.cookies.get, gateway.cookie_names)), None)


def earlier_user(request: Request, gateway: Gateway) -> str | None:
    """Return the user of a token that was issued before sessions were stored, in the cookie or as bearer token, if any.

    Raises:
        Unavailable: the clock of the gateway that issued it is far ahead.
    """
    token = bearer_token(request) or session_cookie(request, gateway)
    if token is None or _JWT.fullmatch(token) is None:
        return None
    try:
        return _verify(token, "session", gateway).user_id
    except TokenInvalid:
        return None


def _verify(token: str, kind: Kind, gateway: Gateway) -> Claims:
    """Return the claims of a token that a gateway issued. Raises: TokenInvalid, Unavailable (as :func:`identify`)."""
    try:
        return gateway.keys.verify(kind, token)
    except TokenNotYet:
        # Not 401: the token is valid once the clocks agree, or at another gateway.
        raise Unavailable("The clocks of two servers differ. Try again soon.", retry_after=5) from None


async def authorize(request: Request, gateway: Gateway, action: AccountAction) -> Identity:
    """Return who makes the request, if the policy allows the action.

    Raises:
        NotAuthenticated, Forbidden, Unavailable: as :func:`identify`.
        Forbidden: the API key lacks the scope, or the user is not an administrator.
        OtherUser: the request is meant for another user's session.
    """
    identity = await identify(request, gateway)
    if identity is None:
        raise NotAuthenticated("Start a session first: POST /v1/session.")
    # All tabs of a browser share the cookie, and the user may have changed in another tab.
    meant = request.headers.get("parley-user")
    if meant is not None and meant != identity.user_id:
        raise OtherUser("The session is another user's. Start a session to learn whose.")
    request.state.user_id = identity.user_id
    detail = "You are making too many requests. Wait a moment."
    gateway.requests.require(identity.user_id, "requests", detail, code="too_many_requests")
    if not policy.may(identity.principal, action):
        raise _refusal(identity.principal, action)
    return identity


def _refusal(principal: Principal, action: AccountAction) -> Forbidden:
    if principal.user.disabled:
        return Forbidden("This user is disabled.", code="user_disabled")
    if action == "administer" and principal.user.role != "administrator":
        return Forbidden("Only an administrator may do that.", code="not_administrator")
    return Forbidden("This API key may not do that.", code="scope_missing")


async def authorize_write(request: Request, gateway: Gateway, action: AccountAction) -> Identity:
    """Authorize a request that changes something: as :func:`authorize`, with a check against CSRF and a rate limit.

    Raises:
        UnsupportedMediaType, Forbidden: as :func:`check_csrf`.
        TooMany: the user sends too fast.
    """
    if bearer_token(request) is None:
        check_origin(request, gateway)
    identity = await authorize(request, gateway, action)
    if identity.via != "bearer":
        check_csrf(request, gateway)
    gateway.writes.require(identity.user_id, "writes", "You are sending too fast. Wait a moment.")
    return identity


def _reading(action: AccountAction) -> Any:
    """Return the dependency of routes that only read."""

    @raises(NotAuthenticated, Forbidden, OtherUser, Unavailable)
    async def authorized(request: Request, gateway: GatewayDependency) -> Identity:
        return await authorize(request, gateway, action)

    return Depends(authorized)


def _writing(action: AccountAction) -> Any:
    """Return the dependency of routes that write."""

    @raises(NotAuthenticated, Forbidden, OtherUser, UnsupportedMediaType, Unavailable)
    async def authorized(request: Request, gateway: GatewayDependency) -> Identity:
        return await authorize_write(request, gateway, action)

    return Depends(authorized)


@raises(NotAuthenticated, Forbidden, OtherUser, UnsupportedMediaType, Unavailable)
async def _administrator(request: Request, gateway: GatewayDependency) -> Identity:
    if request.method in ("GET", "HEAD"):
        return await authorize(request, gateway, "administer")
    return await authorize_write(request, gateway, "administer")


Reader = Annotated[Identity, _reading("read")]
Writer = Annotated[Identity, _writing("write")]
TicketHolder = Annotated[Identity, _writing("read")]
"""For the route that creates push tickets: they allow reading, but are limited in rate as writes."""
AccountReader = Annotated[Identity, _reading("account")]
"""For a route about the user's own account; not with an API key."""
Account = Annotated[Identity, _writing("account")]
"""For a route that changes the user's own account; not with an API key."""
ProtocolReader = Annotated[Identity, _reading("openai")]
"""For a route of another protocol."""
ProtocolWriter = Annotated[Identity, _writing("openai")]
Administrator = Annotated[Identity, Depends(_administrator)]


def check_csrf(request: Request, gateway: Gateway) -> None:
    """Refuse a write that a browser authenticates by its cookie unless our own page made it.

    A form or a script of another site can make the browser send our cookie, but not with a JSON content type (without a
    CORS preflight) and not with our origin.

    Raises:
        UnsupportedMediaType: a POST or PATCH that is not JSON.
        Forbidden: from another origin.
    """
    if request.method in ("POST", "PATCH") and not is_json(request):
        raise UnsupportedMediaType("The request must be JSON, with Content-Type: application/json.")
    check_origin(request, gateway)


def check_origin(request: Request, gateway: Gateway) -> None:
    """Refuse a write that a page of another origin makes, whether or not it carries a cookie. Raises: Forbidden."""
    origin = request.headers.get("origin")
    if origin in gateway.settings.origins:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        # Set by the browser itself, and independent of how a proxy rewrites the host.
        foreign = site not in ("same-origin", "none")
    else:
        # The scheme is not compared: behind a proxy that terminates TLS, ours may differ from the browser's.
        foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    if foreign:
        raise Forbidden("This page may not do that here.", code="cross_origin")


def set_session_cookie(response: Response, request: Request, gateway: Gateway, secret: str) -> None:
    """Set the session's cookie, which expires when the session would end unused."""
    path, seconds = gateway.settings.base_path or "/", gateway.settings.session_seconds
    set_cookie(response, request, gateway, name=gateway.cookie_names[0], value=secret, path=path, seconds=seconds)


def delete_session_cookies(response: Response, request: Request, gateway: Gateway) -> None:
    """Delete the session's cookie under each of its names."""
    for name in gateway.cookie_names:
        if name in request.cookies:
            delete_cookie(response, name, gateway.settings.base_path or "/")


def set_cookie(
    response: Response, request: Request, gateway: Gateway, *, name: str, value: str, path: str, seconds: float
) -> None:
    """Set a cookie that no script and no other site's form can use."""
    # A proxy in front need not say that browsers reach the page by HTTPS (X-Forwarded-Proto).
    secure = gateway.settings.public_url.startswith("https:") or request.url.scheme == "https"
    response.set_cookie(name, value, max_age=int(seconds), path=path, httponly=True, samesite="lax", secure=secure)


def delete_cookie(response: Response, name: str, path: str) -> None:
    response.delete_cookie(name, path=path, httponly=True, samesite="lax")
