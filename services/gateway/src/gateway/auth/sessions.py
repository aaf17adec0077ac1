"""Starting sessions, and ending those of the identity provider."""

import contextlib
import secrets
from typing import Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.authentication import (
    address_of,
    delete_cookie,
    session_before,
    set_session_cookie,
)
from gateway.context import Gateway
from gateway.errors import Unavailable
from parley.contracts.access import identity as contract
from parley.contracts.access.identity import External, Principal
from parley.contracts.ids import new_id

_USER_AGENT_LENGTH: Final = 200


async def start(
    request: Request,
    response: Response,
    gateway: Gateway,
    *,
    method: Literal["guest", "oidc", "proxy"],
    user_id: str | None = None,
    external: External | None = None,
    guest_id: str | None = None,
    provider_session: str | None = None,
) -> Principal:
    """Start a session and set its cookie; the session whose cookie is replaced ends.

    Args:
        user_id: A guest's who had a token before sessions were stored.
        external: The user whom a provider or a proxy named; None: a guest.
        guest_id: The guest who signs in, and whose chats go to ``external``.
        provider_session: The provider's own session, by which it can end this one.

    Raises:
        Forbidden: the user is disabled.
        Unavailable: chat-store does not answer.
    """
    replaced = await session_before(request, gateway)
    secret = secrets.token_urlsafe(32)
    reply = await gateway.store.ask(
        contract.StartSession(
            session_id=new_id(),
            secret_digest=contract.digest(secret),
            new_user_id=new_id(),
            user_id=user_id,
            external=external,
            guest_id=guest_id,
            method=method,
            address=address_of(request),
            user_agent=request.headers.get("user-agent", "")[:_USER_AGENT_LENGTH].replace("\0", ""),
            idle_seconds=gateway.settings.session_seconds,
            absolute_seconds=gateway.settings.session_max_seconds,
            provider_session=provider_session,
        )
    )
    gateway.identities.add_session(secret, reply.principal)
    set_session_cookie(response, request, gateway, secret)
    if replaced is not None:
        # Nobody but who has copied its cookie could use it. A guest who signs in has none any more.
        ended = contract.EndSessions(user_id=replaced.user.id, session_id=replaced.session_id)
        with contextlib.suppress(Unavailable):
            await gateway.store.ask(ended)
        gateway.identities.revoke(contract.Revoked(user_id=replaced.user.id, session_id=replaced.session_id))
    return reply.principal


async def logout_url(principal: Principal, request: Request, response: Response, gateway: Gateway) -> str | None:
    """Return the address at which the browser ends the provider's session, too; None: the user has none there."""
    provider = gateway.oidc
    if provider is None or principal.user.issuer is None or not provider.is_issuer(principal.user.issuer):
        return None
    hint = id_token_cookie(gateway)
    id_token = request.cookies.get(hint)
    if id_token is not None:
        delete_cookie(response, hint, id_token_path(gateway))
    return await provider.logout_url(page_address(request, gateway), id_token)


def id_token_cookie(gateway: Gateway) -> str:
    """Return the name of the cookie with the ID token, a hint to the provider whom to sign out."""
    return f"{gateway.cookie_names[0]}_id"


def id_token_path(gateway: Gateway) -> str:
    """Return the path of the cookie with the ID token: sign-out only."""
    return f"{gateway.settings.base_path}/v1/session"


def page_address(request: Request, gateway: Gateway) -> str:
    """Return the page's address as browsers reach it."""
    origin = gateway.settings.public_url or f"{request.url.scheme}://{request.headers.get('host', '')}"
    return f"{origin}{gateway.settings.base_path}/"
