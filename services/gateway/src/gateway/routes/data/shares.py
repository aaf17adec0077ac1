"""Read-only links to chats, and what they show."""

import secrets
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from gateway.auth.authentication import Reader, Writer, address_of, authorize
from gateway.context import GatewayDependency
from gateway.errors import Conflict, Forbidden, NotAuthenticated, NotFound, Unavailable
from gateway.http.requests import ChatId, JsonBody, ShareId, check_id
from gateway.http.routing import StructRoute, raises
from gateway.routes.schemas import CreatedShareLink, NewShareLink, Page, SharedChat
from parley.contracts import rpc
from parley.contracts.access.identity import digest
from parley.contracts.ids import new_id
from parley.contracts.rpc import ShareLink
from parley.runtime.forwarded import group_of

NO_LINK: Final = "There is no such link."
_HEADERS: Final = {
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}

router = APIRouter(prefix="/v1", tags=["shares"], route_class=StructRoute)


@router.get("/chats/{chat_id}/shares")
async def list_share_links(gateway: GatewayDependency, identity: Reader, chat_id: ChatId) -> Page[ShareLink]:
    """List the links of a chat of one's own, newest first."""
    links = await gateway.store.ask(rpc.ListShareLinks(user_id=identity.user_id, chat_id=chat_id))
    return Page(items=links.items)


@router.post("/chats/{chat_id}/shares", status_code=201)
@raises(Conflict)
async def create_share_link(
    gateway: GatewayDependency,
    identity: Writer,
    chat_id: ChatId,
    body: Annotated[NewShareLink, Depends(JsonBody(NewShareLink, optional=True))],
    response: Response,
) -> CreatedShareLink:
    """Create a read-only link to a chat of one's own. Only this response contains its token."""
    if gateway.settings.share_links == "off":
        raise Forbidden("Links to chats are not allowed here.", code="share_links_off")
    token = secrets.token_urlsafe(32)
    request = rpc.CreateShareLink(
        user_id=identity.user_id,
        chat_id=chat_id,
        share_id=new_id(),
        token_digest=digest(token),
        live=body.live,
        tip_id=check_id(body.tip_id, "tip_id"),
    )
    link = (await gateway.store.ask(request)).link
    response.headers["Location"] = f"{gateway.settings.base_path}/v1/shared/{token}"
    return CreatedShareLink(**msgspec.structs.asdict(link), token=token)


@router.delete("/chats/{chat_id}/shares/{share_id}", status_code=204)
async def revoke_share_link(gateway: GatewayDependency, identity: Writer, chat_id: ChatId, share_id: ShareId) -> None:
    """Revoke a link. It shows nothing any more."""
    await gateway.store.ask(rpc.RevokeShareLink(user_id=identity.user_id, chat_id=chat_id, share_id=share_id))


@router.get("/shared/{token}")
@raises(NotAuthenticated, NotFound, Unavailable)
async def show_shared(
    request: Request,
    gateway: GatewayDependency,
    token: Annotated[str, Path(max_length=128)],
    response: Response,
    after: Annotated[int | None, Query(ge=0, description="`next` of the page before.")] = None,
) -> SharedChat:
    """Show what a link shares: the title and the messages of one branch, oldest first.

    Without a session where `SHARE_LINKS` is `public`. Unknown, revoked and deleted links get the same response.
    """
    mode = gateway.settings.share_links
    if mode == "off":
        raise NotFound(NO_LINK)
    if mode == "members":
        await authorize(request, gateway, "read")
    address = group_of(address_of(request))
    gateway.shared.require(address, "shared", "Too many requests from this address. Wait a moment.")
    shown = await gateway.store.ask(rpc.GetShared(token_digest=digest(token), after=after))
    response.headers.update(_HEADERS)
    return SharedChat(title=shown.title, messages=shown.items, next=shown.next)
