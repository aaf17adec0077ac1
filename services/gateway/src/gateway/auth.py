"""Who is asking: by a bearer token (programs) or by the session's cookie (the page)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.context import Gateway, GatewayDependency
from gateway.errors import Forbidden, NotAuthenticated, TooMany, UnsupportedMediaType
from gateway.metrics import RATE_LIMITED
from gateway.requests import is_json
from parley.runtime.tokens import TokenExpired, TokenInvalid, verify

COOKIE = "parley_session"


@dataclass(frozen=True)
class Identity:
    user_id: str
    expires_at: datetime
    via: Literal["bearer", "cookie"]


def identify(request: Request, key: str) -> Identity | None:
    """Return who asks, or None when the request does not say.

    Raises:
        NotAuthenticated: what it says is forged, damaged or expired.
    """
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise NotAuthenticated("Authorization must be: Bearer <access_token>.", code="token_invalid")
        return _verified(token.strip(), key, "bearer")
    cookie = request.cookies.get(COOKIE)
    if cookie:
        return _verified(cookie, key, "cookie")
    return None


async def reader(request: Request, gateway: GatewayDependency) -> Identity:
    """The dependency of a route that only looks."""
    identity = identify(request, gateway.key)
    if identity is None:
        raise NotAuthenticated("Start a session first: POST /v1/session.")
    request.state.user_id = identity.user_id
    return identity


async def writer(request: Request, gateway: GatewayDependency) -> Identity:
    """The dependency of a route that changes something: guarded against other sites, and limited in rate."""
    identity = await reader(request, gateway)
    if identity.via == "cookie":
        refuse_other_sites(request, gateway)
    wait = gateway.writes.admit(identity.user_id, gateway.now())
    if wait:
        RATE_LIMITED.labels("writes").inc()
        raise TooMany("You are sending too fast. Wait a moment.", retry_after=wait)
    return identity


Reader = Annotated[Identity, Depends(reader)]
Writer = Annotated[Identity, Depends(writer)]


def refuse_other_sites(request: Request, gateway: Gateway) -> None:
    """Let a request that a browser authenticates by itself change something only when our own page made it.

    A form or a script of another site can make the browser send our cookie, but not with a JSON content type (without
    asking by CORS) and not with our origin.

    Raises:
        UnsupportedMediaType: a POST or PATCH that is not JSON.
        Forbidden: from another origin.
    """
    if request.method in ("POST", "PATCH") and not is_json(request):
        raise UnsupportedMediaType("The request must be JSON, with Content-Type: application/json.")
    origin = request.headers.get("origin")
    if origin is None or origin in gateway.settings.origins:
        return
    # The scheme is left out: behind a proxy that ends TLS, ours may be another than the browser's.
    if origin.partition("://")[2] != request.headers.get("host"):
        raise Forbidden("This page may not do that here.", code="cross_origin")


def set_cookie(response: Response, request: Request, token: str, max_age: float) -> None:
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(max_age),
        path="/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


def _verified(token: str, key: str, via: Literal["bearer", "cookie"]) -> Identity:
    try:
        claims = verify(key, "session", token)
    except TokenExpired:
        raise NotAuthenticated("The session has ended. Start a new one.", code="token_expired") from None
    except TokenInvalid:
        raise NotAuthenticated("The token is not valid.", code="token_invalid") from None
    return Identity(user_id=claims.user_id, expires_at=claims.expires_at, via=via)
