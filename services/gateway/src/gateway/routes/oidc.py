"""Sign-in with an OpenID provider: the browser navigates here, to the provider, and back."""

from typing import Annotated, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.auth.authentication import session_cookie
from gateway.auth.oidc import SIGN_IN_SECONDS, OidcProvider, SignIn, SignInFailed
from gateway.auth.sessions import id_token_cookie, id_token_path, page_address, start
from gateway.context import Gateway, GatewayDependency
from gateway.errors import Forbidden, Invalid, NotAuthenticated, NotFound, Unavailable
from gateway.http.routing import StructRoute, raises
from parley.contracts import identity as contract
from parley.contracts.identity import User

router = APIRouter(prefix="/v1/auth/oidc", tags=["sessions"], route_class=StructRoute)

_MAX_COOKIE_BYTES: Final = 3800
"""Browsers drop a cookie of more than 4096 bytes, its name and attributes included."""


@router.get("/login", status_code=303)
@raises(NotFound, Invalid)
async def sign_in(
    request: Request,
    gateway: GatewayDependency,
    return_to: Annotated[str, Query(max_length=2000, description="Path on this host to return to.")] = "",
) -> Response:
    """Begin a sign-in: redirect to the identity provider."""
    provider = _provider(gateway)
    return_to = _local_path(return_to) or f"{gateway.settings.base_path}/"
    try:
        address, state = await provider.begin(_callback_address(request, gateway), return_to)
    except Unavailable:
        return _failed(SignInFailed("unavailable", return_to), gateway)
    response = RedirectResponse(address, 303, {"Cache-Control": "no-store"})
    _set_cookie(
        response,
        request,
        name=_state_cookie(gateway),
        value=state,
        path=_cookie_path(gateway),
        seconds=SIGN_IN_SECONDS,
    )
    return response


@router.get("/callback", status_code=303)
@raises(NotFound)
async def finish_sign_in(request: Request, gateway: GatewayDependency) -> Response:
    """Finish a sign-in: the provider redirects the browser here, and this to the page."""
    provider = _provider(gateway)
    try:
        state = request.cookies.get(_state_cookie(gateway))
        if state is None:
            raise SignInFailed("expired")
        found = await provider.complete(state, request.query_params, _callback_address(request, gateway))
        response: Response = RedirectResponse(found.return_to, 303, {"Cache-Control": "no-store"})
        await _start_session(request, response, gateway, found)
    except SignInFailed as failure:
        response = _failed(failure, gateway)
    response.delete_cookie(_state_cookie(gateway), path=_cookie_path(gateway), httponly=True, samesite="lax")
    return response


async def _start_session(request: Request, response: Response, gateway: Gateway, found: SignIn) -> None:
    """Start the session of the user whom the provider named; the guest of the session before becomes that user.

    Raises:
        SignInFailed: the user is disabled, or chat-store does not answer.
    """
    try:
        before = await _user_before(request, gateway)
        guest_id = before.id if before is not None and before.issuer is None else None
        principal = await start(request, response, gateway, method="oidc", external=found.external, guest_id=guest_id)
    except Forbidden:
        raise SignInFailed("disabled", found.return_to) from None
    except Unavailable:
        raise SignInFailed("unavailable", found.return_to) from None
    if guest_id is not None:
        gateway.identities.revoke(contract.Revoked(user_id=guest_id))
    request.state.user_id = principal.user.id
    if len(found.id_token) <= _MAX_COOKIE_BYTES:
        _set_cookie(
            response,
            request,
            name=id_token_cookie(gateway),
            value=found.id_token,
            path=id_token_path(gateway),
            seconds=gateway.settings.session_max_seconds,
        )


async def _user_before(request: Request, gateway: Gateway) -> User | None:
    """Return the user of the browser's session; None when it has none, or one that has ended."""
    cookie = session_cookie(request, gateway)
    if cookie is None:
        return None
    try:
        return (await gateway.identities.by_session_secret(cookie)).user
    except (NotAuthenticated, Forbidden):
        return None


def _provider(gateway: Gateway) -> OidcProvider:
    if gateway.oidc is None:
        raise NotFound("There is no identity provider here.")
    return gateway.oidc


def _local_path(path: str) -> str:
    """Return a path on this host. Raises :class:`Invalid`: another host must not be led to from here."""
    plain = all(" " < character != "\\" for character in path)
    if path and (not plain or not path.startswith("/") or path.startswith("//")):
        raise Invalid("return_to must be a path on this host, such as /.")
    return path


def _failed(failure: SignInFailed, gateway: Gateway) -> Response:
    """Lead back to the page, with the reason for it to show."""
    parts = urlsplit(failure.return_to or f"{gateway.settings.base_path}/")
    query = "&".join(filter(None, (parts.query, urlencode({"sign_in_error": failure.code}))))
    return RedirectResponse(urlunsplit(parts._replace(query=query)), 303, {"Cache-Control": "no-store"})


def _callback_address(request: Request, gateway: Gateway) -> str:
    return f"{page_address(request, gateway)}v1/auth/oidc/callback"


def _state_cookie(gateway: Gateway) -> str:
    return f"{gateway.cookie_names[0]}_sign_in"


def _cookie_path(gateway: Gateway) -> str:
    return f"{gateway.settings.base_path}/v1/auth/oidc"


def _set_cookie(response: Response, request: Request, *, name: str, value: str, path: str, seconds: float) -> None:
    response.set_cookie(
        name,
        value,
        max_age=int(seconds),
        path=path,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
