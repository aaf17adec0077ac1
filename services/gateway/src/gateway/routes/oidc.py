"""Sign-in with an OpenID provider: the browser navigates here, to the provider, and back."""

import logging
from typing import Annotated, Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.auth.authentication import address_of, check_origin, delete_cookie, session_before, set_cookie
from gateway.auth.logout_token import refused
from gateway.auth.oidc import SIGN_IN_SECONDS, OidcProvider, SignIn, SignInFailed
from gateway.auth.sessions import id_token_cookie, id_token_path, page_address, start
from gateway.context import Gateway, GatewayDependency
from gateway.errors import (
    Conflict,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    RequestTimeout,
    Unavailable,
    UnsupportedMediaType,
)
from gateway.http.problems import request_id_of
from gateway.http.requests import media_type, read_body
from gateway.http.routing import StructRoute, raises
from parley.contracts.access import identity as contract

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/auth/oidc", tags=["sessions"], route_class=StructRoute)

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_LOGOUT_BYTES: Final = 16 * 1024
_LOGOUT_BODY: Final = {
    "required": True,
    "content": {
        _FORM: {
            "schema": {
                "type": "object",
                "required": ["logout_token"],
                "properties": {"logout_token": {"type": "string", "description": "A JWT of the provider."}},
            }
        }
    },
}

_MAX_SIGN_INS: Final = 5
"""Sign-ins that one browser may have in progress."""

_MAX_COOKIE_BYTES: Final = 3800
"""Browsers drop a cookie of more than 4096 bytes, its name and attributes included."""


@router.get("/login", status_code=303)
@raises(NotFound)
async def sign_in(
    request: Request,
    gateway: GatewayDependency,
    return_to: Annotated[str, Query(max_length=2000, description="Path on this host to return to.")] = "",
) -> Response:
    """Begin a sign-in: redirect to the identity provider."""
    provider = _provider(gateway)
    return_to = _local_path(return_to) or f"{gateway.settings.base_path}/"
    try:
        address, state, signed_state = await provider.begin(_callback_address(request, gateway), return_to)
    except Unavailable:
        return _failed(SignInFailed("unavailable", return_to), gateway)
    response = _redirect(address)
    set_cookie(
        response,
        request,
        gateway,
        name=_state_cookie(gateway, state),
        value=signed_state,
        path=_cookie_path(gateway),
        seconds=SIGN_IN_SECONDS,
    )
    sign_ins = [name for name in request.cookies if name.startswith(_state_prefix(gateway))]
    # Browsers send the oldest cookie first (RFC 6265, section 5.4).
    for name in sign_ins[: 1 - _MAX_SIGN_INS]:
        delete_cookie(response, name, _cookie_path(gateway))
    return response


@router.get("/callback", status_code=303)
@raises(NotFound)
async def finish_sign_in(request: Request, gateway: GatewayDependency) -> Response:
    """Finish a sign-in: the provider redirects the browser here, and this to the page."""
    provider = _provider(gateway)
    cookie = _state_cookie(gateway, request.query_params.get("state", ""))
    try:
        signed_state = request.cookies.get(cookie)
        if signed_state is None:
            raise SignInFailed("expired")
        found = await provider.complete(signed_state, request.query_params, _callback_address(request, gateway))
        response = _redirect(found.return_to)
        await _start_session(request, response, gateway, found)
    except SignInFailed as failure:
        if failure.code != "unavailable":
            await gateway.audit.sign_in_refused(
                "oidc", failure.code, address=address_of(request), request_id=request_id_of(request)
            )
        response = _failed(failure, gateway)
    delete_cookie(response, cookie, _cookie_path(gateway))
    return response


@router.post("/backchannel-logout", openapi_extra={"requestBody": _LOGOUT_BODY})
@raises(Forbidden, NotFound, RequestTimeout, UnsupportedMediaType, Unavailable)
async def end_provider_sessions(request: Request, gateway: GatewayDependency) -> Response:
    """End the sessions of a logout token. Called by the identity provider, not by users.

    OpenID Connect Back-Channel Logout 1.0.
    """
    provider = _provider(gateway)
    check_origin(request, gateway)
    token = await _logout_token(request)
    try:
        await _end_sessions(token, provider, gateway)
    except Malformed as error:
        log.warning("A logout of the identity provider was refused: %s", error.detail)
        raise
    return Response(headers={"Cache-Control": "no-store"})


async def _end_sessions(token: str, provider: OidcProvider, gateway: Gateway) -> None:
    try:
        await gateway.store.ask(await provider.read_logout(token))
    except Conflict:
        raise refused("it was used before") from None


async def _logout_token(request: Request) -> str:
    """Return the only field of the form. Raises: Malformed, RequestTimeout, TooLarge, UnsupportedMediaType."""
    if media_type(request) != _FORM:
        raise UnsupportedMediaType(f"The body must be a form, with Content-Type: {_FORM}.")
    body = await read_body(request, limit=_MAX_LOGOUT_BYTES)
    try:
        (token,) = parse_qs(body.decode("ascii"), strict_parsing=True)["logout_token"]
    except (ValueError, KeyError):
        raise Malformed("The form must have one field logout_token.") from None
    return token


async def _start_session(request: Request, response: Response, gateway: Gateway, found: SignIn) -> None:
    """Start the session of the user whom the provider named; the guest of the session before becomes that user.

    Raises:
        SignInFailed: the user is disabled, or chat-store does not answer.
    """
    try:
        before = await session_before(request, gateway)
        guest_id = before.user.id if before is not None and before.user.issuer is None else None
        principal = await start(
            request,
            response,
            gateway,
            method="oidc",
            external=found.external,
            guest_id=guest_id,
            provider_session=found.provider_session,
        )
    except Forbidden:
        raise SignInFailed("disabled", found.return_to) from None
    except Unavailable:
        raise SignInFailed("unavailable", found.return_to) from None
    if guest_id is not None:
        gateway.identities.revoke(contract.Revoked(user_id=guest_id))
    request.state.user_id = principal.user.id
    # One that is too large takes the place of an earlier sign-in's, too.
    fits = len(found.id_token) <= _MAX_COOKIE_BYTES
    set_cookie(
        response,
        request,
        gateway,
        name=id_token_cookie(gateway),
        value=found.id_token if fits else "",
        path=id_token_path(gateway),
        seconds=gateway.settings.session_max_seconds if fits else 0,
    )


def _provider(gateway: Gateway) -> OidcProvider:
    if gateway.oidc is None:
        raise NotFound("There is no identity provider here.")
    return gateway.oidc


def _local_path(path: str) -> str:
    """Return a path on this host. Raises :class:`Invalid`: redirects must not leave this host."""
    plain = all(" " < character != "\\" for character in path)
    if path and (not plain or not path.startswith("/") or path.startswith("//")):
        raise Invalid("return_to must be a path on this host, such as /.")
    return path


def _failed(failure: SignInFailed, gateway: Gateway) -> Response:
    """Redirect to the page, with the error that it shows."""
    parts = urlsplit(failure.return_to or f"{gateway.settings.base_path}/")
    query = "&".join(filter(None, (parts.query, urlencode({"sign_in_error": failure.code}))))
    return _redirect(urlunsplit((parts.scheme, parts.netloc, parts.path, query, parts.fragment)))


def _redirect(address: str) -> Response:
    return RedirectResponse(address, 303, {"Cache-Control": "no-store"})


def _callback_address(request: Request, gateway: Gateway) -> str:
    return f"{page_address(request, gateway)}v1/auth/oidc/callback"


def _state_cookie(gateway: Gateway, state: str) -> str:
    """Return the name of a sign-in's cookie: each tab may have one."""
    return f"{_state_prefix(gateway)}{contract.digest(state)[:8]}"


def _state_prefix(gateway: Gateway) -> str:
    return f"{gateway.cookie_names[0]}_sign_in_"


def _cookie_path(gateway: Gateway) -> str:
    return f"{gateway.settings.base_path}/v1/auth/oidc"
