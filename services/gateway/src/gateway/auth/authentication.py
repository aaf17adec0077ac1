"""Authentication by a bearer token (programs) or by the session's cookie (the page)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.context import Gateway, GatewayDependency
from gateway.errors import Forbidden, NotAuthenticated, OtherUser, TooMany, Unavailable, UnsupportedMediaType
from gateway.http.requests import is_json
from gateway.http.routing import raises
from gateway.metrics import RATE_LIMITED
from parley.runtime.tokens import KeyRing, TokenExpired, TokenInvalid, TokenNotYet


@dataclass(frozen=True)
class Identity:
    user_id: str
    expires_at: datetime
    via: Literal["bearer", "cookie"]
    groups: tuple[str, ...] = ()
    role: str = "user"


def identify(request: Request, gateway: Gateway) -> Identity | None:
    """Return the user of the request's token or cookie, or None when it has neither.

    Raises:
        NotAuthenticated: the token is forged, damaged or expired.
        Unavailable: the clock of the gateway that issued it is far ahead.
    """
    token = bearer_token(request)
    if token is not None:
        return _verified(token, gateway.keys, "bearer")
    cookie = session_cookie(request, gateway)
    return _verified(cookie, gateway.keys, "cookie") if cookie is not None else None


def bearer_token(request: Request) -> str | None:
    """Return the request's bearer token. Another scheme belongs to a proxy in front of us and is ignored."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


@raises(NotAuthenticated, OtherUser, Unavailable)
async def reader(request: Request, gateway: GatewayDependency) -> Identity:
    """The dependency of a route that only reads."""
    identity = identify(request, gateway)
    if identity is None:
        raise NotAuthenticated("Start a session first: POST /v1/session.")
    # All tabs of a browser share the cookie: another one may have become another user since this one looked.
    meant = request.headers.get("parley-user")
    if meant is not None and meant != identity.user_id:
        raise OtherUser("The session is another user's. Start a session to learn whose.")
    request.state.user_id = identity.user_id
    wait = gateway.requests.admit(identity.user_id, gateway.now())
    if wait:
        RATE_LIMITED.labels("requests").inc()
        raise TooMany("You are making too many requests. Wait a moment.", code="too_many_requests", retry_after=wait)
    return identity


@raises(NotAuthenticated, Forbidden, OtherUser, UnsupportedMediaType, TooMany, Unavailable)
async def writer(request: Request, gateway: GatewayDependency) -> Identity:
    """The dependency of a route that writes: protected against CSRF, and limited in rate."""
    identity = await reader(request, gateway)
    if identity.via == "cookie":
        check_csrf(request, gateway)
    wait = gateway.writes.admit(identity.user_id, gateway.now())
    if wait:
        RATE_LIMITED.labels("writes").inc()
        raise TooMany("You are sending too fast. Wait a moment.", retry_after=wait)
    return identity


Reader = Annotated[Identity, Depends(reader)]
Writer = Annotated[Identity, Depends(writer)]


def check_csrf(request: Request, gateway: Gateway) -> None:
    """Refuse a write that a browser authenticates by its cookie unless our own page made it.

    A form or a script of another site can make the browser send our cookie, but not with a JSON content type (without
    asking by CORS) and not with our origin.

    Raises:
        UnsupportedMediaType: a POST or PATCH that is not JSON.
        Forbidden: from another origin.
    """
    if request.method in ("POST", "PATCH") and not is_json(request):
        raise UnsupportedMediaType("The request must be JSON, with Content-Type: application/json.")
    origin = request.headers.get("origin")
    if origin in gateway.settings.origins:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        # Set by the browser itself, and independent of how a proxy rewrites the host.
        foreign = site not in ("same-origin", "none")
    else:
        # The scheme is left out: behind a proxy that ends TLS, ours may be another than the browser's.
        foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    if foreign:
        raise Forbidden("This page may not do that here.", code="cross_origin")


def session_cookie(request: Request, gateway: Gateway) -> str | None:
    """Return the value of the session's cookie, under its name or, after a key was replaced, an earlier one."""
    return next(filter(None, map(request.cookies.get, gateway.cookie_names)), None)


def set_cookie(response: Response, request: Request, gateway: Gateway, token: str, max_age: float) -> None:
    response.set_cookie(
        gateway.cookie_names[0],
        token,
        max_age=int(max_age),
        path=gateway.settings.base_path or "/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


def _verified(token: str, keys: KeyRing, via: Literal["bearer", "cookie"]) -> Identity:
    try:
        claims = keys.verify("session", token)
    except TokenExpired:
        raise NotAuthenticated("The session has ended. Start a new one.", code="token_expired") from None
    except TokenNotYet:
        # No 401: the token is good once the clocks agree, or at another gateway.
        raise Unavailable("The clocks of two servers differ. Try again soon.", retry_after=5) from None
    except TokenInvalid:
        raise NotAuthenticated("The token is not valid.", code="token_invalid") from None
    return Identity(user_id=claims.user_id, expires_at=claims.expires_at, via=via)
