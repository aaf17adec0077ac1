"""Requests about share links."""

from datetime import UTC, datetime
from typing import Final

import msgspec
from faststream.nats import NatsRouter

from chat_store.domain.conversation import check_role
from chat_store.errors import Conflict, Invalid, NotFound
from chat_store.rpc import pages
from chat_store.rpc.context import Store, check_ids
from chat_store.rpc.routing import handles
from chat_store.storage import members, shares
from chat_store.storage.administration import audit
from parley.contracts import ids, rpc

NO_LINK: Final = "There is no such link."
_PAGE: Final = 200

router = NatsRouter()


@handles(router, rpc.CreateShareLink)
async def create_share_link(request: rpc.CreateShareLink, store: Store) -> rpc.ShareLinkReply:
    check_ids(request.chat_id, *([] if request.tip_id is None else [request.tip_id]))
    if not ids.is_id(request.share_id):
        raise Invalid("A link's id is a UUID in lower case.")
    async with store.database.connection() as connection, connection.transaction():
        check_role(await members.role_of(connection, request.chat_id, request.user_id), "share")
        if await shares.add_link(connection, request, now=datetime.now(UTC)):
            created = audit.event(
                "share_created", actor_id=request.user_id, chat_id=request.chat_id, share_id=request.share_id
            )
            await audit.record(connection, created)
        links = await shares.list_links(connection, request.chat_id)
    for link in links:
        if link.id == request.share_id:
            return rpc.ShareLinkReply(link=link)
    if len(links) >= shares.MAX_LINKS:
        raise Conflict(f"A chat has at most {shares.MAX_LINKS} links. Revoke one first.")
    raise Invalid("The tip must be a message of this chat.")


@handles(router, rpc.ListShareLinks)
async def list_share_links(request: rpc.ListShareLinks, store: Store) -> rpc.ShareLinkList:
    check_ids(request.chat_id)
    async with store.database.connection() as connection:
        check_role(await members.role_of(connection, request.chat_id, request.user_id), "share")
        return rpc.ShareLinkList(items=await shares.list_links(connection, request.chat_id))


@handles(router, rpc.RevokeShareLink)
async def revoke_share_link(request: rpc.RevokeShareLink, store: Store) -> rpc.Done:
    check_ids(request.chat_id, request.share_id)
    async with store.database.connection() as connection, connection.transaction():
        check_role(await members.role_of(connection, request.chat_id, request.user_id), "share")
        if await shares.revoke_link(connection, request.chat_id, request.share_id):
            revoked = audit.event(
                "share_revoked", actor_id=request.user_id, chat_id=request.chat_id, share_id=request.share_id
            )
            await audit.record(connection, revoked)
    return rpc.Done()


@handles(router, rpc.GetShared)
async def get_shared(request: rpc.GetShared, store: Store) -> rpc.SharedReply:
    async with store.database.connection() as connection:
        link = await shares.find_link(connection, request.token_digest)
        if link is None:
            raise NotFound(NO_LINK)
        tip_id = link.tip_id if link.tip_id is not None or not link.live else link.chat_tip_id
        if tip_id is None:
            return rpc.SharedReply(title=link.title, items=[], next=None)
        if link.live and link.tip_id is not None:
            tip_id = await shares.newest_below(connection, link.chat_id, link.tip_id)
        budget = pages.MAX_BYTES
        found = await shares.branch_page(
            connection, link.chat_id, tip_id, after=request.after or 0, limit=_PAGE, max_bytes=budget
        )
    page: list[rpc.SharedMessage] = []
    last = None
    for message, position in found:
        # A text can be longer as JSON than in the database.
        budget -= len(msgspec.json.encode(message)) + 1
        if budget < 0 and page:
            break
        page.append(message)
        last = position
    return rpc.SharedReply(title=link.title, items=page, next=last)
